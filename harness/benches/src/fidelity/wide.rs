//! Figures of grid benches as tables with one row for each SAE (PROTOCOL §9).

use harness_core::{record::Status, sae_id::SaeId};
use harness_plan::{
    bench::{RowKind, TableKind, ViewSpec},
    expand::{Plan, PlannedRow},
};
use harness_present::{Column, csv_table, optional};

use super::work::GridWork;
use super::{FidelityTables, rows::GridRow};
use crate::columns::{OfSae, STATUS, of_sae};

/// A row of fig3.csv or fig7.csv.
pub struct DeltaRow {
    pub model: String,
    pub sae: SaeId,
    pub delta_lm: Option<f64>,
    pub clean: Option<f64>,
    pub spliced: Option<f64>,
    pub masked_tokens: Option<u64>,
    pub status: Status,
}

/// A row of fig8.csv.
pub struct EvRow {
    pub model: String,
    pub sae: SaeId,
    pub ev: Option<f64>,
    pub status: Status,
}

/// A row of fig6.csv or fig12.csv.
pub struct TransferRow {
    /// The model that the SAE is put into.
    pub target: String,
    pub sae: SaeId,
    pub delta_lm: Option<f64>,
    pub ev: Option<f64>,
    pub rollout_delta_lm: Option<f64>,
    pub status: Status,
}

impl OfSae for DeltaRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.model, &self.sae)
    }
}

impl OfSae for EvRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.model, &self.sae)
    }
}

impl OfSae for TransferRow {
    fn sae(&self) -> (&str, &SaeId) {
        (&self.target, &self.sae)
    }
}

const DELTA: &str = "loss difference with the splice at all positions, on the paper's scale";

/// Columns of fig3.csv and fig7.csv.
pub fn delta_columns() -> Vec<Column<DeltaRow>> {
    let mut columns = of_sae().to_vec();
    columns.extend([
        Column::value("delta_lm", "nats", DELTA, |r: &DeltaRow| {
            optional(r.delta_lm)
        }),
        Column::value(
            "clean",
            "nats",
            "loss of the unmodified model, likewise",
            |r| optional(r.clean),
        ),
        Column::value("spliced", "nats", "loss with the splice, likewise", |r| {
            optional(r.spliced)
        }),
        Column::value(
            "masked_tokens",
            "count",
            "counted tokens; of autoregressive models the predicted ones",
            |r| optional(r.masked_tokens),
        ),
        Column::value("status", "", STATUS, |r| r.status.to_string()),
    ]);
    columns
}

/// Columns of fig8.csv.
pub fn ev_columns() -> Vec<Column<EvRow>> {
    let mut columns = of_sae().to_vec();
    columns.extend([
        Column::value(
            "ev",
            "share",
            "explained variance (`ev_var`)",
            |r: &EvRow| optional(r.ev),
        ),
        Column::value("status", "", STATUS, |r| r.status.to_string()),
    ]);
    columns
}

/// Columns of fig6.csv and fig12.csv.
pub fn transfer_columns() -> Vec<Column<TransferRow>> {
    let [target, source, id, layer, k] = of_sae();
    vec![
        Column {
            name: "target",
            meaning: "the model that the SAE is put into",
            ..target
        },
        Column {
            name: "sae_source",
            ..source
        },
        id,
        layer,
        k,
        Column::value("delta_lm", "nats", DELTA, |r: &TransferRow| {
            optional(r.delta_lm)
        }),
        Column::value("ev", "share", "explained variance (`ev_var`)", |r| {
            optional(r.ev)
        }),
        Column::value(
            "rollout_delta_lm",
            "nats",
            "the loss difference on continuations of prompts, where the figure has them",
            |r| optional(r.rollout_delta_lm),
        ),
        Column::value("status", "", STATUS, |r| r.status.to_string()),
    ]
}

pub(super) struct SaeValues<'a> {
    rows: Vec<&'a GridRow>,
    scale: &'static str,
}

impl<'a> SaeValues<'a> {
    /// Those of a planned row, on what it is measured on.
    pub(super) fn of(
        row: &PlannedRow,
        work: &GridWork,
        tables: &'a FidelityTables,
    ) -> SaeValues<'a> {
        let all = match work.kind {
            RowKind::Rollouts => &tables.rollouts,
            _ => &tables.grid,
        };
        let is_of = |r: &&GridRow| {
            (&r.model, &r.sae.set, &r.sae.id) == (&row.model, &row.sae.set, &row.sae.id)
        };
        SaeValues {
            rows: all.iter().filter(is_of).collect(),
            scale: scale(work.is_diffusion),
        }
    }

    /// A value by metric and variant.
    pub(super) fn get(&self, metric: &str, variant: &str) -> Option<&'a GridRow> {
        self.rows
            .iter()
            .find(|r| (r.metric.as_str(), r.variant.as_str()) == (metric, variant))
            .copied()
    }

    /// Loss difference with the splice at all positions, on the paper's scale.
    pub(super) fn delta(&self) -> Option<&'a GridRow> {
        self.get("delta_lm_loss", &format!("aligned-{}-all", self.scale))
    }

    /// Loss of the unmodified model, on the paper's scale.
    pub(super) fn clean(&self) -> Option<&'a GridRow> {
        self.get("clean_loss", &format!("aligned-{}", self.scale))
    }

    /// Loss with the splice at all positions, on the paper's scale.
    pub(super) fn spliced(&self) -> Option<&'a GridRow> {
        self.get("spliced_loss", &format!("aligned-{}-all", self.scale))
    }

    /// Explained variance, the authors' definition.
    pub(super) fn ev(&self) -> Option<&'a GridRow> {
        self.get("ev", "ev_var")
    }

    /// Explained variance without massive activations.
    pub(super) fn robust_ev(&self) -> Option<&'a GridRow> {
        self.get("ev", "ev_var_robust")
    }

    /// Whether the values are whole, those of the explained variance aside.
    pub(super) fn status(&self) -> Status {
        let of_losses = self.rows.iter().find(|r| r.metric != "ev");
        of_losses.map_or(Status::Missing, |r| r.status)
    }
}

/// The paper's scale of losses: weighted by 1/t for masked diffusion, plain for next tokens.
pub(super) const fn scale(is_diffusion: bool) -> &'static str {
    if is_diffusion { "weighted" } else { "plain" }
}

/// The CSV of a figure.
pub fn wide_csv(view: &ViewSpec, plan: &Plan, tables: &FidelityTables) -> String {
    let rows = chosen(view, plan);
    let each = rows.iter();
    match view.table {
        TableKind::Ev => {
            let rows: Vec<EvRow> = each.map(|row| ev_row(row, tables)).collect();
            csv_table(&ev_columns(), &rows)
        }
        TableKind::Transfer => csv_table(&transfer_columns(), &transfer_rows(&rows, tables)),
        _ => {
            let rows: Vec<DeltaRow> = each.map(|row| delta_row(row, tables)).collect();
            csv_table(&delta_columns(), &rows)
        }
    }
}

/// Rows of the plan that a figure shows.
pub(super) fn chosen<'p>(view: &ViewSpec, plan: &'p Plan) -> Vec<(&'p PlannedRow, &'p GridWork)> {
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

fn value(row: Option<&GridRow>) -> Option<f64> {
    row.and_then(|r| r.value)
}

fn delta_row((row, work): &(&PlannedRow, &GridWork), tables: &FidelityTables) -> DeltaRow {
    let values = SaeValues::of(row, work, tables);
    DeltaRow {
        model: row.model.clone(),
        sae: row.sae.clone(),
        delta_lm: value(values.delta()),
        clean: value(values.clean()),
        spliced: value(values.spliced()),
        masked_tokens: values.delta().and_then(|r| r.n),
        status: values.status(),
    }
}

fn ev_row((row, work): &(&PlannedRow, &GridWork), tables: &FidelityTables) -> EvRow {
    let values = SaeValues::of(row, work, tables);
    let ev = values.ev();
    EvRow {
        model: row.model.clone(),
        sae: row.sae.clone(),
        ev: value(ev),
        status: ev.map_or(Status::Missing, |r| r.status),
    }
}

/// One row for each SAE in a target, with its delta on rollouts where the figure has them.
fn transfer_rows(rows: &[(&PlannedRow, &GridWork)], tables: &FidelityTables) -> Vec<TransferRow> {
    let on = |kind| rows.iter().filter(move |(_, work)| work.kind == kind);
    let transfer_row = |(row, work): &(&PlannedRow, &GridWork)| {
        let values = SaeValues::of(row, work, tables);
        let rollouts = on(RowKind::Rollouts)
            .find(|(r, _)| is_same(r, row))
            .map(|(r, w)| SaeValues::of(r, w, tables));
        let status = match &rollouts {
            Some(other) if other.status() != values.status() => match values.status() {
                Status::Ok | Status::Partial => Status::Partial,
                _ if matches!(other.status(), Status::Ok | Status::Partial) => Status::Partial,
                _ => Status::Failed,
            },
            _ => values.status(),
        };
        TransferRow {
            target: row.model.clone(),
            sae: row.sae.clone(),
            delta_lm: value(values.delta()),
            ev: value(values.ev()),
            rollout_delta_lm: value(rollouts.as_ref().and_then(SaeValues::delta)),
            status,
        }
    };
    on(RowKind::Documents).map(transfer_row).collect()
}

/// Whether two rows are of one SAE in one model.
fn is_same(a: &PlannedRow, b: &PlannedRow) -> bool {
    (&a.model, &a.sae.set, &a.sae.id) == (&b.model, &b.sae.set, &b.sae.id)
}
