use harness_contract::{cell::Cell, stages::Dtype};
use harness_core::policy::Policy;
use harness_plan::{
    bench::RowKind,
    expand::{Plan, PlannedRow, RowWork},
};

use super::settings::GridSettings;

/// What is done for a row of a grid bench.
#[derive(Clone, Debug)]
pub struct GridWork {
    /// What it is measured on: `ON_DOCUMENTS` or `ON_ROLLOUTS`.
    pub kind: RowKind,
    /// What its SAEs were trained on.
    pub policy: Policy,
    /// Whether the model is a masked-diffusion model.
    pub is_diffusion: bool,
    /// Whether the logits of a diffusion model are shifted.
    pub is_shifted: bool,
    /// Number format of the residuals.
    pub dtype: Dtype,
    pub settings: GridSettings,
    /// Key of its cell on each shard.
    pub shards: Vec<String>,
    /// Key of the cell with the continuations it is measured on.
    pub rollout: Option<String>,
}

impl RowWork for GridWork {
    fn keys(&self) -> Vec<&str> {
        let keys = self.rollout.iter().chain(&self.shards);
        keys.map(String::as_str).collect()
    }

    fn describe(&self, plan: &Plan, row: &PlannedRow, cell: &Cell) -> String {
        let group = plan.group_of(&cell.key).map(|group| &plan.groups[group]);
        let text = group.map_or("", |group| group.text.as_str());
        format!("{} {} on {}, {text}", cell.stage(), row.name(), row.model)
    }
}
