//! The pictures of a bench, beside its tables.

use std::path::PathBuf;

use harness_core::record::{DynamicsRow, GridRow};

use super::{
    Across, DynamicsOptions, GridOptions, Split, TransferPart, accuracy_bars, autointerp_figure,
    dynamics_curves, dynamics_heatmaps, grid_figure, measured, steering_figure, transfer_figure,
};
use crate::table::{DecodingTables, Derived, is_shown};
use harness_plan::{
    bench::{Profile, RowKind, TableKind, ViewSpec},
    expand::Plan,
};
use harness_present::figure::{Figure, FigureError, YRange, render_svg};
use harness_store::{Store, StoreError};

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

/// A picture that is not there, and why.
#[derive(Debug, thiserror::Error)]
pub enum WriteFigureError {
    /// It cannot be drawn.
    #[error("{name}.svg: {source}")]
    Figure {
        name: String,
        #[source]
        source: FigureError,
    },
    /// It cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The figures of a bench with the names of their files, without ending. Tables that are no figures have none, and a view
/// without rows is left out.
pub fn bench_figures(plan: &Plan, derived: &Derived) -> Vec<(String, Figure)> {
    let (name, title) = (plan.bench.as_str(), plan.title.as_str());
    let documents: Vec<&GridRow> = derived.grid.iter().collect();
    let rollouts: Vec<&GridRow> = derived.rollouts.iter().collect();
    let mut figures = match plan.table {
        TableKind::ByK => vec![(name.to_owned(), steering_figure(&derived.by_k, title))],
        TableKind::Grid => loss_and_ev(&documents, name, title),
        TableKind::Rollouts => vec![(name.to_owned(), losses(&rollouts, title))],
        TableKind::Decoding => orders(plan, &derived.decoding, name),
        TableKind::Autointerp => {
            let depths = plan.rows.iter().map(|row| row.depth);
            let rows: Vec<_> = derived.autointerp.saes.iter().zip(depths).collect();
            vec![(name.to_owned(), autointerp_figure(&rows, title))]
        }
        _ => Vec::new(),
    };
    for view in &plan.views {
        let of = |kind| shown(view, kind, derived);
        match view.table {
            TableKind::Delta => {
                figures.extend(loss_and_ev(
                    &of(RowKind::Documents),
                    &view.name,
                    &view.title,
                ));
            }
            TableKind::Ev => {
                let figure = explained(&of(RowKind::Documents), &view.title);
                figures.push((view.name.clone(), figure));
            }
            TableKind::Transfer => figures.push((view.name.clone(), transfer(view, derived))),
            kind if kind.kind() == RowKind::Decoding => {
                figures.extend(part_of_orders(view, plan, &derived.decoding));
            }
            _ => {}
        }
    }
    // With --rows some views have none.
    figures.retain(|(_, figure)| !figure.panels.is_empty());
    figures
}

/// Writes the pictures of a bench into the store's folder as SVG and returns their paths. Equal cells give equal bytes.
///
/// # Errors
/// When one cannot be drawn or written; those before it are written.
pub fn write_figures(
    plan: &Plan,
    derived: &Derived,
    store: &Store,
) -> Result<Vec<PathBuf>, WriteFigureError> {
    bench_figures(plan, derived)
        .into_iter()
        .map(|(name, figure)| {
            let svg = render_svg(&figure).map_err(|source| WriteFigureError::Figure {
                name: name.clone(),
                source,
            })?;
            Ok(store.write_file(&format!("{name}.svg"), svg.as_bytes())?)
        })
        .collect()
}

/// Rows that a view shows, of one kind.
fn shown<'a>(view: &ViewSpec, kind: RowKind, derived: &'a Derived) -> Vec<&'a GridRow> {
    let rows = match kind {
        RowKind::Rollouts => &derived.rollouts,
        _ => &derived.grid,
    };
    rows.iter()
        .filter(|row| {
            view.rows
                .iter()
                .any(|id| (&id.model, &id.sae, id.kind) == (&row.model, &row.sae, kind))
        })
        .collect()
}

/// Heat maps of every metric, curves, accuracies.
fn orders(plan: &Plan, tables: &DecodingTables, name: &str) -> Vec<(String, Figure)> {
    let options = |across| dynamics_options(plan, &plan.title, across);
    let maps = |rows: &[DynamicsRow], infix: &str, across| -> Vec<(String, Figure)> {
        dynamics_heatmaps(rows, &options(across))
            .into_iter()
            .map(|(metric, figure)| (format!("{name}{infix}_{metric}"), figure))
            .collect()
    };
    let mut figures = maps(&tables.steps, "", Across::Steps);
    figures.extend(maps(&tables.positions, "_by_position", Across::Positions));
    let curves = dynamics_curves(&tables.curves, &options(Across::Steps));
    figures.push((format!("{name}_curves"), curves));
    let bars = accuracy_bars(
        &tables.accuracy,
        "Right answers by decoding order",
        &caption(plan),
    );
    figures.push(("accuracy".to_owned(), bars));
    figures
}

/// The heat maps and curves that a figure shows: with one metric the figure's name is that of the heat map.
fn part_of_orders(view: &ViewSpec, plan: &Plan, tables: &DecodingTables) -> Vec<(String, Figure)> {
    let shown = |rows: &[DynamicsRow]| -> Vec<DynamicsRow> {
        (rows.iter().filter(|row| is_shown(view, row)).cloned()).collect()
    };
    let options = dynamics_options(plan, &view.title, Across::Steps);
    let maps = dynamics_heatmaps(&shown(&tables.steps), &options);
    let is_one = maps.len() == 1;
    let mut figures: Vec<(String, Figure)> = maps
        .into_iter()
        .map(|(metric, figure)| match is_one {
            true => {
                // The figure's own title says which metric it is.
                let title = view.title.clone();
                (view.name.clone(), Figure { title, ..figure })
            }
            false => (format!("{}_{metric}", view.name), figure),
        })
        .collect();
    let curves = dynamics_curves(&shown(&tables.curves), &options);
    figures.push((format!("{}_curves", view.name), curves));
    figures
}

fn dynamics_options(plan: &Plan, title: &str, across: Across) -> DynamicsOptions {
    DynamicsOptions {
        title: title.to_owned(),
        caption: caption(plan),
        across,
    }
}

/// What a reader must know of the models and questions.
fn caption(plan: &Plan) -> String {
    let works = plan.rows.iter().filter_map(|row| row.decoding());
    let is_scaled = works.clone().any(|work| work.profile == Profile::Zoo);
    let set = works.map(|work| &work.settings).next();
    let how = set.map_or_else(String::new, |set| {
        format!(
            "Sets of the {} most active latents; {} steps for {} tokens.",
            set.k_set, set.dlm_steps, set.max_new_tokens
        )
    });
    match is_scaled {
        true => format!(
            "{how} A tiny model with questions of its own: no number here says anything about a public model."
        ),
        false => how,
    }
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
            .any(|r| r.sae == row.sae && r.model != row.model)
    });
    if several {
        Split::SourceAndTarget
    } else {
        Split::Sae
    }
}

fn transfer(view: &ViewSpec, derived: &Derived) -> Figure {
    let documents = shown(view, RowKind::Documents, derived);
    let rollouts = shown(view, RowKind::Rollouts, derived);
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
