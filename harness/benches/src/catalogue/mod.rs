//! Tables 1 and 3: what SAE sets say of themselves. Nothing is run.

pub mod listing;
pub mod settings;
pub mod tables;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use self::tables::{
    Table1Row, Table3Row, print_table1, print_table3, table1_columns, table1_rows, table3_columns,
    table3_rows,
};
use harness_contract::config::{ConfigError, Problem};
use harness_plan::{
    bench::{BenchSpec, Overrides, RowSpec},
    expand::{PlanError, is_chosen, unknown_rows},
    inspect::InspectedSet,
    sources::Answers,
};
use harness_present::{csv_table, text_table::Style};

use self::settings::TRAINING;
use crate::columns::{Table, table};

/// Rows of a catalogue bench.
#[derive(Clone, Debug, PartialEq)]
pub enum Listed {
    /// Of Table 1.
    Table1(Vec<Table1Row>),
    /// Of Table 3.
    Table3(Vec<Table3Row>),
}

/// Read the SAE sets of a catalogue bench, as `ask` has plugins say what their folders are. A set
/// that nobody has named and that does not lie in the zoo is a row without values.
///
/// # Errors
/// Names that the bench does not have; sets that were named and cannot be read, and damaged ones.
pub fn list_sets<E: From<PlanError>>(
    spec: &BenchSpec,
    named: &BTreeMap<String, PathBuf>,
    zoo: &Path,
    overrides: &Overrides,
    ask: impl FnOnce(Vec<PathBuf>) -> Result<Answers, E>,
) -> Result<Listed, E> {
    let mut problems = overrides.problems.clone();
    problems.extend(unknown_rows(spec, overrides));
    let known = spec.sae_sets();
    for name in named.keys().filter(|n| !known.contains(&n.as_str())) {
        problems.push(Problem::new(
            format!("--saes {name}"),
            format!("the bench lists no `{name}`"),
            harness_core::suggest::hint(name, known.iter().copied()),
        ));
    }
    ConfigError::check(problems).map_err(PlanError::from)?;
    let dir = |row: &RowSpec| match named.get(&row.sae) {
        Some(dir) => dir.clone(),
        None => zoo.join("saes").join(&row.sae),
    };
    let rows = spec.rows.iter().filter(|row| is_chosen(overrides, row));
    let rows: Vec<(&RowSpec, PathBuf)> = rows.map(|row| (row, dir(row))).collect();
    let answers = ask(rows.iter().map(|(_, dir)| dir.clone()).collect())?;
    let (mut sets, mut errors) = (Vec::new(), Vec::new());
    for (row, dir) in rows {
        if !named.contains_key(&row.sae) && !dir.is_dir() {
            sets.push((row, None));
            continue;
        }
        match InspectedSet::read(&row.sae, &dir, &answers) {
            Ok(set) => sets.push((row, Some(set))),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(PlanError::Sources(errors).into());
    }
    Ok(match spec.table.name() {
        TRAINING => Listed::Table3(sets.into_iter().map(table3_row).collect()),
        _ => {
            let sets: Vec<InspectedSet> = sets.into_iter().map(found_or_empty).collect();
            Listed::Table1(table1_rows(&sets))
        }
    })
}

fn table3_row((row, set): (&RowSpec, Option<InspectedSet>)) -> Table3Row {
    let rows = set.map(|set| table3_rows(&[set]));
    rows.and_then(|rows| rows.into_iter().next())
        .unwrap_or_else(|| Table3Row::missing(&row.model, &row.sae))
}

/// A set that is not there says nothing of itself.
fn found_or_empty((row, set): (&RowSpec, Option<InspectedSet>)) -> InspectedSet {
    set.unwrap_or_else(|| InspectedSet {
        name: row.sae.clone(),
        dir: PathBuf::new(),
        runtime: None,
        saes: Vec::new(),
        passed_over: Vec::new(),
    })
}

impl Listed {
    pub fn csv(&self) -> String {
        match self {
            Listed::Table1(rows) => csv_table(&table1_columns(), rows),
            Listed::Table3(rows) => csv_table(&table3_columns(), rows),
        }
    }

    /// The table as text, beside the paper's.
    pub fn print(&self, title: &str, style: Style) -> String {
        let (head, table) = match self {
            Listed::Table1(rows) => (title, print_table1(rows, style)),
            Listed::Table3(rows) => (title, print_table3(rows, style)),
        };
        match style {
            Style::Markdown => format!("## {head}\n\n{table}"),
            Style::Plain => format!("{head}\n\n{table}"),
        }
    }
}

/// The tables of the kind, with their columns.
pub(crate) fn tables() -> Vec<Table> {
    vec![
        table(
            &["table1.csv"],
            "What the files of each SAE set say.",
            &table1_columns(),
        ),
        table(
            &["table3.csv"],
            "One row for each SAE set.",
            &table3_columns(),
        ),
    ]
}
