//! The grid of SAEs: each is spliced into passes over documents, or over continuations of prompts.

mod derive;
mod expand;
mod figure;
mod kind;
mod paper;
mod print;
pub mod rows;
pub mod settings;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_expand;
mod values;
mod views;
mod work;

pub use derive::{Coverage, FidelityTables, derive};
pub use kind::{GRID_ON_DOCUMENTS, GRID_ON_ROLLOUTS};
pub use work::GridWork;

use harness_core::fidelity::MEASURES;
use harness_plan::expand::Plan;
use harness_present::{csv_table, figure::Figure, text_table::Style};

use crate::{
    Results,
    columns::{Table, table},
};
use rows::grid_columns;
use settings::{GRID_TABLE, ROLLOUTS_TABLE};
use views::VIEWS;

impl Results for FidelityTables {
    fn files(&self, plan: &Plan) -> Vec<(String, String)> {
        let mut files = Vec::new();
        if [GRID_TABLE, ROLLOUTS_TABLE].contains(&plan.table.name()) {
            let rows = self.grid.iter().chain(&self.rollouts);
            files.push((
                format!("{}.csv", plan.bench),
                csv_table(&grid_columns(), rows),
            ));
        }
        for view in &plan.views {
            let text = views::csv(view, plan, self);
            files.extend(text.map(|text| (format!("{}.csv", view.name), text)));
        }
        files
    }

    fn print(&self, plan: &Plan, style: Style) -> String {
        print::print(plan, self, style)
    }

    fn figures(&self, plan: &Plan) -> Vec<(String, Figure)> {
        views::figures(plan, self)
    }
}

/// The tables of the kind, with their columns.
pub(crate) fn tables() -> Vec<Table> {
    let values = table(
        &["fidelity.csv", "transfer.csv", "transfer-rollouts.csv"],
        "One row for each value of an SAE; the same values for every SAE, done or not. `transfer.csv` \
         puts the SAEs of two models into both; `transfer-rollouts.csv` is measured on what the model \
         has written itself: prompts stay visible, the tokens of its continuations up to the first \
         end token are masked and predicted.",
        &grid_columns(),
    );
    let values = Table {
        measures: MEASURES.to_vec(),
        ..values
    };
    let views = VIEWS.iter().map(|view| (view.columns)());
    std::iter::once(values).chain(views).collect()
}
