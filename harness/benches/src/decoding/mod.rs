//! Decoding orders: questions are answered in several orders, with features followed in every pass.

mod derive;
mod expand;
mod figure;
mod kind;
mod print;
pub mod rows;
pub mod settings;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_expand;
#[cfg(test)]
mod tests_files;
mod views;
mod work;

pub use derive::{DecodingTables, derive};
pub use kind::Decoding;
pub use work::DecodingWork;

use harness_core::dynamics::Metric;
use harness_plan::expand::Plan;
use harness_present::{csv_table, figure::Figure, text_table::Style};

use crate::{
    Results,
    columns::{Table, table},
};
use figure::is_shown;
use rows::{
    DynamicsRow, accuracy_columns, curve_columns, paired_columns, position_columns, step_columns,
    summary_columns,
};
use settings::ORDERS;
use views::VIEWS;

impl Results for DecodingTables {
    fn files(&self, plan: &Plan) -> Vec<(String, String)> {
        // A figure alone has its own rows and nothing of the others.
        let mut files = match plan.table.name() {
            ORDERS => self.own_files(&plan.bench),
            _ => Vec::new(),
        };
        for view in &plan.views {
            let is_shown = |row: &&DynamicsRow| is_shown(view, row);
            let (steps, curves) = (self.steps.iter(), self.curves.iter());
            files.push((
                view.name.clone(),
                csv_table(&step_columns(), steps.filter(is_shown)),
            ));
            files.push((
                format!("{}_curves", view.name),
                csv_table(&curve_columns(), curves.filter(is_shown)),
            ));
        }
        let csv = |(name, text)| (format!("{name}.csv"), text);
        files.into_iter().map(csv).collect()
    }

    fn print(&self, plan: &Plan, style: Style) -> String {
        print::print(plan, self, style)
    }

    fn figures(&self, plan: &Plan) -> Vec<(String, Figure)> {
        figure::figures(plan, self)
    }
}

impl DecodingTables {
    /// The files of the bench itself, by name without ending.
    fn own_files(&self, name: &str) -> Vec<(String, String)> {
        let mut files = vec![
            (name.to_owned(), csv_table(&step_columns(), &self.steps)),
            (
                format!("{name}_curves"),
                csv_table(&curve_columns(), &self.curves),
            ),
        ];
        if !self.positions.is_empty() {
            files.push((
                format!("{name}_by_position"),
                csv_table(&position_columns(), &self.positions),
            ));
        }
        files.extend([
            (
                format!("{name}_summary"),
                csv_table(&summary_columns(), &self.summary),
            ),
            (
                "accuracy".to_owned(),
                csv_table(&accuracy_columns(), &self.accuracy),
            ),
            (
                "accuracy_paired".to_owned(),
                csv_table(&paired_columns(), &self.paired),
            ),
        ]);
        files
    }
}

/// The tables of the kind, with their columns.
pub(crate) fn tables() -> Vec<Table> {
    let benches: Vec<&str> = ["decoding-order"]
        .into_iter()
        .chain(VIEWS.iter().map(|view| view.bench))
        .collect();
    let files = |ending: &str| -> Vec<String> {
        (benches.iter().map(|bench| format!("{bench}{ending}.csv"))).collect()
    };
    let steps = table(
        &files(""),
        "What SAE features do while answers are decoded, by transition. `fig4.csv` holds the rows of \
         `jaccard_pre`, `fig5.csv` those of `drift_post`, `fig11.csv` those of `lock_rate` and \
         `flip_count`; so do the files of their curves.",
        &step_columns(),
    );
    vec![
        Table {
            measures: Metric::ALL.map(Metric::measure).to_vec(),
            ..steps
        },
        table(
            &files("_curves"),
            "The same by bins of the progress, as means over the layers. There are `bins` of them, or \
             K−1 where that is less. A flip count is that of one step, on average.",
            &curve_columns(),
        ),
        table(
            &["decoding-order_summary.csv"],
            "The same over the whole run. `drift_post` is Eq. 21, the mean over positions of each \
             position's mean over its steps after decoding (`n`: positions that have one, over all \
             prompts); the others pool all steps, a flip count is that of one step.",
            &summary_columns(),
        ),
        table(
            &["decoding-order_by_position.csv"],
            "The same by generated position, with `--by-position`. `drift_post` is Eq. 21, mean over \
             prompts; a flip count is that of the whole run.",
            &position_columns(),
        ),
        table(
            &["accuracy.csv"],
            "One row for each way to read the answers of a decoding order.",
            &accuracy_columns(),
        ),
        table(
            &["accuracy_paired.csv"],
            "Two decoding orders on the questions that both have answered.",
            &paired_columns(),
        ),
    ]
}
