//! Figures of grid benches as tables with one row for each SAE (PROTOCOL §9).

use harness_core::record::{GridRow, Status};

use super::{Derived, columns::optional};
use harness_plan::{
    bench::{RowKind, TableKind, ViewSpec},
    expand::{GridWork, Plan, PlannedRow},
};
use harness_present::csv_text;

/// Columns of fig3.csv and fig7.csv.
pub const DELTA_COLUMNS: [&str; 10] = [
    "model",
    "sae",
    "sae_id",
    "layer",
    "k",
    "delta_lm",
    "clean",
    "spliced",
    "masked_tokens",
    "status",
];

/// Columns of fig8.csv.
pub const EV_COLUMNS: [&str; 7] = ["model", "sae", "sae_id", "layer", "k", "ev", "status"];

/// Columns of fig6.csv and fig12.csv.
pub const TRANSFER_COLUMNS: [&str; 9] = [
    "target",
    "sae_source",
    "sae_id",
    "layer",
    "k",
    "delta_lm",
    "ev",
    "rollout_delta_lm",
    "status",
];

pub(super) struct SaeValues<'a> {
    rows: Vec<&'a GridRow>,
    scale: &'static str,
}

impl<'a> SaeValues<'a> {
    /// Those of a planned row, on what it is measured on.
    pub(super) fn of(row: &PlannedRow, work: &GridWork, derived: &'a Derived) -> SaeValues<'a> {
        let all = match work.kind {
            RowKind::Rollouts => &derived.rollouts,
            _ => &derived.grid,
        };
        let is_of =
            |r: &&GridRow| (&r.model, &r.sae, &r.sae_id) == (&row.model, &row.sae, &row.sae_id);
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
pub fn wide_csv(view: &ViewSpec, plan: &Plan, derived: &Derived) -> String {
    let rows = chosen(view, plan);
    match view.table {
        TableKind::Ev => csv_text(&EV_COLUMNS, rows.iter().map(|r| ev_line(r, derived))),
        TableKind::Transfer => csv_text(&TRANSFER_COLUMNS, transfer_lines(&rows, derived)),
        _ => csv_text(&DELTA_COLUMNS, rows.iter().map(|r| delta_line(r, derived))),
    }
}

/// Rows of the plan that a figure shows.
pub(super) fn chosen<'p>(view: &ViewSpec, plan: &'p Plan) -> Vec<(&'p PlannedRow, &'p GridWork)> {
    let is_shown = |row: &PlannedRow, kind| {
        view.rows
            .iter()
            .any(|id| (&id.model, &id.sae, id.kind) == (&row.model, &row.sae, kind))
    };
    plan.rows
        .iter()
        .filter_map(|row| Some((row, row.grid()?)))
        .filter(|(row, work)| is_shown(row, work.kind))
        .collect()
}

fn value(row: Option<&GridRow>) -> String {
    optional(row.and_then(|r| r.value))
}

fn key(row: &PlannedRow) -> Vec<String> {
    vec![
        row.model.clone(),
        row.sae.clone(),
        row.sae_id.clone(),
        row.layer.to_string(),
        optional(row.k),
    ]
}

fn delta_line((row, work): &(&PlannedRow, &GridWork), derived: &Derived) -> Vec<String> {
    let values = SaeValues::of(row, work, derived);
    let own = vec![
        value(values.delta()),
        value(values.clean()),
        value(values.spliced()),
        optional(values.delta().and_then(|r| r.n)),
        values.status().to_string(),
    ];
    [key(row), own].concat()
}

fn ev_line((row, work): &(&PlannedRow, &GridWork), derived: &Derived) -> Vec<String> {
    let values = SaeValues::of(row, work, derived);
    let ev = values.ev();
    let status = ev.map_or(Status::Missing, |r| r.status);
    let own = vec![value(ev), status.to_string()];
    [key(row), own].concat()
}

/// One line for each SAE in a target, with its delta on rollouts where the figure has them.
fn transfer_lines<'a>(
    rows: &'a [(&PlannedRow, &GridWork)],
    derived: &'a Derived,
) -> impl Iterator<Item = Vec<String>> + 'a {
    let on = |kind| rows.iter().filter(move |(_, work)| work.kind == kind);
    on(RowKind::Documents).map(move |(row, work)| {
        let values = SaeValues::of(row, work, derived);
        let rollouts = on(RowKind::Rollouts)
            .find(|(r, _)| (&r.model, &r.sae, &r.sae_id) == (&row.model, &row.sae, &row.sae_id))
            .map(|(r, w)| SaeValues::of(r, w, derived));
        let status = match &rollouts {
            Some(other) if other.status() != values.status() => match values.status() {
                Status::Ok | Status::Partial => Status::Partial,
                _ if matches!(other.status(), Status::Ok | Status::Partial) => Status::Partial,
                _ => Status::Failed,
            },
            _ => values.status(),
        };
        let own = vec![
            value(values.delta()),
            value(values.ev()),
            value(rollouts.as_ref().and_then(SaeValues::delta)),
            status.to_string(),
        ];
        [key(row), own].concat()
    })
}
