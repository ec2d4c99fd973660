//! Steering: texts are steered along latents, judged and scored.

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
#[cfg(test)]
mod tests_figure;
mod work;

pub use derive::{SteeringTables, derive};
pub use kind::Steering;
pub use work::SteeringWork;

use harness_plan::expand::Plan;
use harness_present::{csv_table, figure::Figure, text_table::Style};

use crate::{
    Results,
    columns::{Table, table},
};
use rows::{metric_columns, metrics_csv, steering_columns, table2_columns, table4_columns};
use settings::{BY_K, MEAN_OVER_K, VARIANTS};

impl Results for SteeringTables {
    fn files(&self, plan: &Plan) -> Vec<(String, String)> {
        let name = &plan.bench;
        let by_k = || csv_table(&steering_columns(), &self.by_k);
        let mut files = match plan.table.name() {
            MEAN_OVER_K => vec![
                (
                    format!("{name}.csv"),
                    csv_table(&table2_columns(), &self.table2),
                ),
                (format!("{name}_by_k.csv"), by_k()),
            ],
            VARIANTS => vec![(
                format!("{name}.csv"),
                csv_table(&table4_columns(), &self.table4),
            )],
            _ => vec![(format!("{name}.csv"), by_k())],
        };
        if !self.metrics.is_empty() {
            files.push(("metrics.csv".to_owned(), metrics_csv(&self.metrics)));
        }
        files
    }

    fn print(&self, plan: &Plan, style: Style) -> String {
        print::print(plan, self, style)
    }

    fn figures(&self, plan: &Plan) -> Vec<(String, Figure)> {
        match plan.table.name() {
            BY_K => vec![(
                plan.bench.clone(),
                figure::steering_figure(&self.by_k, &plan.title),
            )],
            _ => Vec::new(),
        }
    }

    fn has_failed_metric(&self) -> bool {
        self.metrics.iter().any(|row| row.error.is_some())
    }
}

/// The tables of the kind, with their columns.
pub(crate) fn tables() -> Vec<Table> {
    vec![
        table(
            &["table2.csv"],
            "One row for each layer of an SAE set: the unweighted mean over its k sweep, and the sums \
             of the counts.",
            &table2_columns(),
        ),
        table(
            &["table2_by_k.csv", "fig9.csv", "fig10.csv"],
            "One row for each SAE.",
            &steering_columns(),
        ),
        table(
            &["table4.csv"],
            "One row for each variant.",
            &table4_columns(),
        ),
        table(
            &["metrics.csv"],
            "Of benches that name other metrics than the usual three: one row for each value of a \
             metric besides C, P and S. Only tables of variants have `variant`. The values of each \
             feature are in the cell (`metrics` of stage `score`).",
            &metric_columns(true),
        ),
    ]
}
