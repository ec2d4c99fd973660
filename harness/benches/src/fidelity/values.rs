//! The values of one SAE among the rows of a grid bench.

use crate::fidelity::settings::ON_ROLLOUTS;
use harness_core::{
    fidelity::{CLEAN_LOSS, DELTA_LM_LOSS, EV_VAR, EV_VAR_ROBUST, SPLICED_LOSS},
    measure::Measure,
    record::Status,
};
use harness_plan::expand::PlannedRow;

use super::work::GridWork;
use super::{FidelityTables, rows::GridRow};

/// Values of an SAE in a model, by metric and variant.
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
        let all = match work.kind == ON_ROLLOUTS {
            true => &tables.rollouts,
            false => &tables.grid,
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
    pub(super) fn get(&self, measure: Measure, variant: &str) -> Option<&'a GridRow> {
        self.rows
            .iter()
            .find(|r| (r.measure, r.variant.as_str()) == (measure, variant))
            .copied()
    }

    /// Loss difference with the splice at all positions, on the paper's scale.
    pub(super) fn delta(&self) -> Option<&'a GridRow> {
        self.get(DELTA_LM_LOSS, &format!("aligned-{}-all", self.scale))
    }

    /// Loss of the unmodified model, on the paper's scale.
    pub(super) fn clean(&self) -> Option<&'a GridRow> {
        self.get(CLEAN_LOSS, &format!("aligned-{}", self.scale))
    }

    /// Loss with the splice at all positions, on the paper's scale.
    pub(super) fn spliced(&self) -> Option<&'a GridRow> {
        self.get(SPLICED_LOSS, &format!("aligned-{}-all", self.scale))
    }

    /// Explained variance, the authors' definition.
    pub(super) fn ev(&self) -> Option<&'a GridRow> {
        self.get(EV_VAR, EV_VAR.variant)
    }

    /// Explained variance without massive activations.
    pub(super) fn robust_ev(&self) -> Option<&'a GridRow> {
        self.get(EV_VAR_ROBUST, EV_VAR_ROBUST.variant)
    }

    /// Whether the values are whole, those of the explained variance aside.
    pub(super) fn status(&self) -> Status {
        let of_losses = self.rows.iter().find(|r| r.measure.name != EV_VAR.name);
        of_losses.map_or(Status::Missing, |r| r.status)
    }
}

/// The paper's scale of losses: weighted by 1/t for masked diffusion, plain for next tokens.
pub(super) const fn scale(is_diffusion: bool) -> &'static str {
    if is_diffusion { "weighted" } else { "plain" }
}
