use harness_contract::cell::Cell;
use harness_plan::expand::{Plan, PlannedRow, RowWork};

use super::settings::AutointerpSettings;

/// What is done for a row of the autointerp bench.
#[derive(Clone, Debug)]
pub struct AutointerpWork {
    pub settings: AutointerpSettings,
    /// Key of the cell with its windows.
    pub windows: String,
    /// Key of the cell with its explanations.
    pub explain: String,
    /// Key of the cell with its predictions.
    pub predict: String,
}

impl RowWork for AutointerpWork {
    fn keys(&self) -> Vec<&str> {
        vec![&self.windows, &self.explain, &self.predict]
    }

    fn describe(&self, _: &Plan, row: &PlannedRow, cell: &Cell) -> String {
        format!("{} {}", cell.stage(), row.name())
    }
}
