//! Figures of the grid benches.

mod grid;
#[cfg(test)]
mod tests;
mod transfer;

pub use grid::{GridOptions, Split, grid_figure, measured};
pub use transfer::{TransferPart, transfer_figure};

use harness_plan::{
    bench::{RowKind, TableKind, ViewSpec},
    expand::Plan,
};
use harness_present::figure::{Figure, YRange};

use super::{FidelityTables, rows::GridRow};

/// Variants of losses on the paper's scale: weighted by 1/t where that exists.
const LOSS: [&str; 2] = ["aligned-weighted-all", "aligned-plain-all"];
/// The authors' definition of explained variance.
const EV: [&str; 1] = ["ev_var"];
const LOSS_CAPTION: &str = "Loss with the residual of all tokens replaced by the SAE's reconstruction minus loss of the unmodified \
                            model (Eq. 16), for each layer (L) over the active budget k of the SAE. Masked tokens weighted by 1/t for diffusion models, \
                            plain means over tokens for autoregressive ones.";
const EV_CAPTION: &str = "Share of the residual's variance that the SAE explains (Eq. 15), for each layer (L) over its active budget k.";
const TRANSFER_CAPTION: &str = "SAEs of both models in one of them, for each layer (L) over the active budget k of the SAE: explained variance (Eq. 15) and \
                                loss difference (Eq. 16), masked tokens weighted by 1/t.";

/// The figures of a grid bench, and those of its views.
pub fn figures(plan: &Plan, tables: &FidelityTables) -> Vec<(String, Figure)> {
    let (name, title) = (plan.bench.as_str(), plan.title.as_str());
    let documents: Vec<&GridRow> = tables.grid.iter().collect();
    let rollouts: Vec<&GridRow> = tables.rollouts.iter().collect();
    let mut figures = match plan.table {
        TableKind::Grid => loss_and_ev(&documents, name, title),
        TableKind::Rollouts => vec![(name.to_owned(), losses(&rollouts, title))],
        _ => Vec::new(),
    };
    for view in &plan.views {
        let documents = || shown(view, RowKind::Documents, tables);
        match view.table {
            TableKind::Delta => figures.extend(loss_and_ev(&documents(), &view.name, &view.title)),
            TableKind::Ev => {
                figures.push((view.name.clone(), explained(&documents(), &view.title)));
            }
            TableKind::Transfer => figures.push((view.name.clone(), transfer(view, tables))),
            _ => {}
        }
    }
    figures
}

/// Rows that a view shows, of one kind.
fn shown<'a>(view: &ViewSpec, kind: RowKind, tables: &'a FidelityTables) -> Vec<&'a GridRow> {
    let rows = match kind {
        RowKind::Rollouts => &tables.rollouts,
        _ => &tables.grid,
    };
    rows.iter()
        .filter(|row| {
            view.rows
                .iter()
                .any(|id| (&id.model, &id.sae, id.kind) == (&row.model, &row.sae.set, kind))
        })
        .collect()
}

/// A picture of the loss and one of explained variance.
fn loss_and_ev(rows: &[&GridRow], name: &str, title: &str) -> Vec<(String, Figure)> {
    vec![
        (name.to_owned(), losses(rows, title)),
        (format!("{name}_ev"), explained(rows, title)),
    ]
}

fn losses(rows: &[&GridRow], title: &str) -> Figure {
    let options = GridOptions {
        title: title.to_owned(),
        caption: LOSS_CAPTION.into(),
        y_label: "ΔL (nats)".into(),
        split: split(rows),
        zero_line: true,
        y_range: YRange::PerRow,
    };
    grid_figure(&measured(rows, "delta_lm_loss", &LOSS), &options)
}

fn explained(rows: &[&GridRow], title: &str) -> Figure {
    let options = GridOptions {
        title: title.to_owned(),
        caption: EV_CAPTION.into(),
        y_label: "EV (share)".into(),
        split: split(rows),
        zero_line: false,
        y_range: YRange::PerRow,
    };
    grid_figure(&measured(rows, "ev", &EV), &options)
}

/// Models are named where one SAE set is put into several.
fn split(rows: &[&GridRow]) -> Split {
    let several = rows.iter().any(|row| {
        rows.iter()
            .any(|r| r.sae.set == row.sae.set && r.model != row.model)
    });
    if several {
        Split::SourceAndTarget
    } else {
        Split::Sae
    }
}

fn transfer(view: &ViewSpec, tables: &FidelityTables) -> Figure {
    let documents = shown(view, RowKind::Documents, tables);
    let rollouts = shown(view, RowKind::Rollouts, tables);
    let part = |title: &str, y_label: &str, zero_line, rows| TransferPart {
        title: title.into(),
        y_label: y_label.into(),
        zero_line,
        rows,
    };
    let mut parts = vec![
        part(
            "Explained variance on text",
            "EV (share)",
            false,
            measured(&documents, "ev", &EV),
        ),
        part(
            "Loss difference on text",
            "ΔL (nats)",
            true,
            measured(&documents, "delta_lm_loss", &LOSS),
        ),
        part(
            "Loss difference on rollouts",
            "ΔL (nats)",
            true,
            measured(&rollouts, "delta_lm_loss", &LOSS),
        ),
    ];
    parts.retain(|part| !part.rows.is_empty());
    transfer_figure(&parts, &view.title, TRANSFER_CAPTION)
}
