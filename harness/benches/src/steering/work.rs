use harness_contract::cell::Cell;
use harness_plan::expand::{Plan, PlannedRow, RowWork};

use super::settings::SteeringSettings;

/// What is done for a row of a steering bench.
#[derive(Clone, Debug)]
pub struct SteeringWork {
    /// Whether the model is a masked-diffusion model.
    pub is_diffusion: bool,
    /// Group of the variant.
    pub group: Option<String>,
    pub settings: SteeringSettings,
    /// Keys of the cells behind it.
    pub cells: RowCells,
}

/// Keys of the cells behind a row.
#[derive(Clone, Debug)]
pub struct RowCells {
    pub features: String,
    /// Explanations.
    pub explain: String,
    /// Unsteered texts.
    pub baseline: String,
    /// Steered texts.
    pub steer: String,
    /// Perplexities of the unsteered texts and of the steered ones; none without a scorer.
    pub perplexities: Vec<String>,
    /// Judged pairs.
    pub judge: String,
    /// Scores.
    pub score: String,
}

impl RowCells {
    /// All keys, in dependency order.
    pub fn all(&self) -> Vec<&str> {
        let texts = [&self.features, &self.explain, &self.baseline, &self.steer];
        let scores = [&self.judge, &self.score];
        let all = texts.into_iter().chain(&self.perplexities).chain(scores);
        all.map(String::as_str).collect()
    }
}

impl RowWork for SteeringWork {
    fn keys(&self) -> Vec<&str> {
        self.cells.all()
    }

    fn describe(&self, _: &Plan, row: &PlannedRow, cell: &Cell) -> String {
        let name = format!("{} {}", cell.stage(), row.name());
        if self.group.is_none() {
            return name;
        }
        let set = &self.settings;
        let k_scope = set.k_scope.map_or_else(String::new, |k| format!(" {k}"));
        format!(
            "{name} (amp_factor {}, dlm_steps {}, {}{k_scope})",
            set.amp_factor, set.dlm_steps, set.token_scope
        )
    }
}
