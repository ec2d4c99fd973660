//! What the figures share.

use crate::fidelity::settings::ON_ROLLOUTS;
use harness_core::fidelity::{DELTA_LM_LOSS, EV_VAR};
use harness_plan::{
    bench::{RowKind, ViewSpec},
    expand::{Plan, PlannedRow},
};
use harness_present::figure::{Figure, YRange};

use crate::{
    columns::Table,
    fidelity::{
        FidelityTables,
        figure::{GridOptions, Split, grid_figure, measured},
        rows::GridRow,
        work::GridWork,
    },
};

/// A figure that is derived from the rows of a grid bench.
pub struct View {
    /// What bench files call it.
    pub table: &'static str,
    /// The columns of its file.
    pub columns: fn() -> Table,
    /// Its file.
    pub csv: fn(&ViewSpec, &Plan, &FidelityTables) -> String,
    /// Its pictures, by name.
    pub figures: fn(&ViewSpec, &FidelityTables) -> Vec<(String, Figure)>,
}

/// Variants of losses on the paper's scale: weighted by 1/t where that exists.
pub const LOSS: [&str; 2] = ["aligned-weighted-all", "aligned-plain-all"];
const LOSS_CAPTION: &str = "Loss with the residual of all tokens replaced by the SAE's reconstruction minus loss of the unmodified \
                            model (Eq. 16), for each layer (L) over the active budget k of the SAE. Masked tokens weighted by 1/t for diffusion models, \
                            plain means over tokens for autoregressive ones.";
const EV_CAPTION: &str = "Share of the residual's variance that the SAE explains (Eq. 15), for each layer (L) over its active budget k.";
/// Rows that a view shows, of one kind.
pub fn shown<'a>(view: &ViewSpec, kind: RowKind, tables: &'a FidelityTables) -> Vec<&'a GridRow> {
    let rows = match kind == ON_ROLLOUTS {
        true => &tables.rollouts,
        false => &tables.grid,
    };
    rows.iter()
        .filter(|row| {
            view.rows
                .iter()
                .any(|id| (&id.model, &id.sae, id.kind) == (&row.model, &row.sae.set, kind))
        })
        .collect()
}

/// Rows of the plan that a figure shows.
pub fn chosen<'p>(view: &ViewSpec, plan: &'p Plan) -> Vec<(&'p PlannedRow, &'p GridWork)> {
    let is_shown = |row: &PlannedRow, kind| {
        view.rows
            .iter()
            .any(|id| (&id.model, &id.sae, id.kind) == (&row.model, &row.sae.set, kind))
    };
    plan.rows
        .iter()
        .filter_map(|row| Some((row, row.work::<GridWork>()?)))
        .filter(|(row, work)| is_shown(row, work.kind))
        .collect()
}

pub fn value(row: Option<&GridRow>) -> Option<f64> {
    row.and_then(|r| r.estimate.value)
}

/// A picture of the loss and one of explained variance.
pub fn loss_and_ev(rows: &[&GridRow], name: &str, title: &str) -> Vec<(String, Figure)> {
    vec![
        (name.to_owned(), losses(rows, title)),
        (format!("{name}_ev"), explained(rows, title)),
    ]
}

pub fn losses(rows: &[&GridRow], title: &str) -> Figure {
    let options = GridOptions {
        title: title.to_owned(),
        caption: LOSS_CAPTION.into(),
        y_label: "ΔL (nats)".into(),
        split: split(rows),
        zero_line: true,
        y_range: YRange::PerRow,
    };
    grid_figure(&measured(rows, DELTA_LM_LOSS, &LOSS), &options)
}

pub fn explained(rows: &[&GridRow], title: &str) -> Figure {
    let options = GridOptions {
        title: title.to_owned(),
        caption: EV_CAPTION.into(),
        y_label: "EV (share)".into(),
        split: split(rows),
        zero_line: false,
        y_range: YRange::PerRow,
    };
    grid_figure(&measured(rows, EV_VAR, &[EV_VAR.variant]), &options)
}

/// Models are named where one SAE set is put into several.
pub fn split(rows: &[&GridRow]) -> Split {
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
