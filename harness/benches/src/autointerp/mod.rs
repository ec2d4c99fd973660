//! Auto-interpretation: latents are explained by a judge, and windows predicted from the
//! explanations.

mod derive;
mod expand;
mod figure;
mod kind;
mod paper;
mod print;
pub mod report;
pub mod rows;
pub mod settings;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_expand;
mod work;

pub use derive::{AutointerpTables, derive};
pub use kind::Autointerp;
pub use work::AutointerpWork;

use harness_contract::outputs::ExplanationLine;
use harness_plan::expand::Plan;
use harness_present::{csv_table, figure::Figure, text_table::Style};

use crate::{
    Results,
    columns::{Table, table},
};
use rows::{autointerp_columns, explanations_jsonl, label_columns, latent_columns};

impl Results for AutointerpTables {
    fn files(&self, plan: &Plan) -> Vec<(String, String)> {
        let name = &plan.bench;
        let mut files = vec![
            (
                format!("{name}.csv"),
                csv_table(&autointerp_columns(), &self.saes),
            ),
            (
                "latents.csv".to_owned(),
                csv_table(&latent_columns(), &self.latents),
            ),
        ];
        if !self.labels.is_empty() {
            files.push((
                format!("{name}_labels.csv"),
                csv_table(&label_columns(), &self.labels),
            ));
        }
        files.push((
            ExplanationLine::FILE.to_owned(),
            explanations_jsonl(&self.explanations),
        ));
        files
    }

    fn print(&self, plan: &Plan, style: Style) -> String {
        print::print(plan, self, style)
    }

    fn figures(&self, plan: &Plan) -> Vec<(String, Figure)> {
        let depths = plan.rows.iter().map(|row| row.depth);
        let rows: Vec<_> = self.saes.iter().zip(depths).collect();
        vec![(
            plan.bench.clone(),
            figure::autointerp_figure(&rows, &plan.title),
        )]
    }
}

/// The tables of the kind, with their columns.
pub(crate) fn tables() -> Vec<Table> {
    vec![
        table(
            &["autointerp.csv"],
            "One row for each SAE: how well a judge that has read a latent's explanation says in \
             which windows of text the latent is active.",
            &autointerp_columns(),
        ),
        table(
            &["latents.csv"],
            "One row for each latent; those with `chosen` = `label` are no part of autointerp.csv.",
            &latent_columns(),
        ),
        table(
            &["autointerp_labels.csv"],
            "Where the text has labels (`label_field`, which the embedded models' text has): one row \
             for each SAE and label, with the latent that goes best with it, chosen without a judge.",
            &label_columns(),
        ),
    ]
}
