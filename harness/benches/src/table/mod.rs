//! Tables of results: rows derived from stored cells, as CSV and as text beside the paper's numbers.

mod autointerp;
mod catalogue;
mod columns;
mod columns_autointerp;
mod columns_decoding;
mod decoding;
mod grid;
mod paper;
mod print;
mod print_autointerp;
mod print_decoding;
mod print_grid;
mod rows;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_autointerp;
#[cfg(test)]
mod tests_decoding;
#[cfg(test)]
mod tests_decoding_files;
#[cfg(test)]
mod tests_grid;
mod wide;

pub use autointerp::AutointerpTables;
pub use catalogue::{Listed, list_sets};
pub use columns::{
    GRID_COLUMNS, METRIC_COLUMNS, STEERING_COLUMNS, TABLE2_COLUMNS, TABLE4_COLUMNS, grid_csv,
    metrics_csv, steering_csv, table2_csv, table4_csv,
};
pub use columns_autointerp::{AUTOINTERP_COLUMNS, LABEL_COLUMNS, LATENT_COLUMNS};
pub use columns_decoding::{
    ACCURACY_COLUMNS, CURVE_COLUMNS, PAIRED_COLUMNS, POSITION_COLUMNS, STEP_COLUMNS,
    SUMMARY_COLUMNS,
};
pub use decoding::DecodingTables;
pub use grid::Coverage;
pub use paper::{PaperScores, paper_autointerp, paper_ev, paper_table2, paper_table4_minutes};
pub use print::print_tables;
pub use rows::{Derived, derive};
pub use wide::{DELTA_COLUMNS, EV_COLUMNS, TRANSFER_COLUMNS, wide_csv};

use std::path::PathBuf;

use harness_core::record::DynamicsRow;

use columns_autointerp::{autointerp_csv, explanations_jsonl, labels_csv, latents_csv};
use columns_decoding::{
    accuracy_csv, curves_csv, paired_csv, positions_csv, steps_csv, summary_csv,
};

use harness_plan::{
    bench::{TableKind, ViewSpec},
    expand::Plan,
};
use harness_store::{Store, StoreError};

/// Write the CSV files of a bench into the store's folder and return their paths. Equal cells give equal bytes.
///
/// # Errors
/// When a file cannot be written.
pub fn write_csv(
    plan: &Plan,
    derived: &Derived,
    store: &Store,
) -> Result<Vec<PathBuf>, StoreError> {
    let name = &plan.bench;
    let mut paths = Vec::new();
    match plan.table {
        TableKind::MeanOverK => {
            paths.push(store.write_file(
                &format!("{name}.csv"),
                table2_csv(&derived.table2).as_bytes(),
            )?);
            paths.push(store.write_file(
                &format!("{name}_by_k.csv"),
                steering_csv(&derived.by_k).as_bytes(),
            )?);
        }
        TableKind::ByK => {
            paths.push(store.write_file(
                &format!("{name}.csv"),
                steering_csv(&derived.by_k).as_bytes(),
            )?);
        }
        TableKind::Variants => {
            paths.push(store.write_file(
                &format!("{name}.csv"),
                table4_csv(&derived.table4).as_bytes(),
            )?);
        }
        TableKind::Grid | TableKind::Rollouts => {
            let rows = [derived.grid.as_slice(), &derived.rollouts].concat();
            paths.push(store.write_file(&format!("{name}.csv"), grid_csv(&rows).as_bytes())?);
        }
        TableKind::Decoding => paths.extend(write_decoding(name, &derived.decoding, store)?),
        TableKind::Autointerp => paths.extend(write_autointerp(name, &derived.autointerp, store)?),
        // Figures are views, and catalogue benches have no plan.
        TableKind::Delta
        | TableKind::Ev
        | TableKind::Transfer
        | TableKind::Stability
        | TableKind::Drift
        | TableKind::Top1
        | TableKind::Table1
        | TableKind::Table3 => {}
    }
    if !derived.metrics.is_empty() {
        let text = metrics_csv(&derived.metrics);
        paths.push(store.write_file("metrics.csv", text.as_bytes())?);
    }
    for view in &plan.views {
        if view.table.dynamics().is_empty() {
            let text = wide_csv(view, plan, derived);
            paths.push(store.write_file(&format!("{}.csv", view.name), text.as_bytes())?);
            continue;
        }
        let is_shown = |row: &&DynamicsRow| is_shown(view, row);
        let tables = &derived.decoding;
        for (file, text) in [
            (
                view.name.clone(),
                steps_csv(tables.steps.iter().filter(is_shown)),
            ),
            (
                format!("{}_curves", view.name),
                curves_csv(tables.curves.iter().filter(is_shown)),
            ),
        ] {
            paths.push(store.write_file(&format!("{file}.csv"), text.as_bytes())?);
        }
    }
    Ok(paths)
}

/// Whether a figure of the decoding-order bench shows a row.
pub(crate) fn is_shown(view: &ViewSpec, row: &DynamicsRow) -> bool {
    let is_metric = (view.table.dynamics().iter()).any(|metric| metric.name() == row.metric);
    is_metric && view.rows.iter().any(|id| id.model == row.model)
}

fn write_autointerp(
    name: &str,
    tables: &AutointerpTables,
    store: &Store,
) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = vec![
        (format!("{name}.csv"), autointerp_csv(&tables.saes)),
        ("latents.csv".to_owned(), latents_csv(&tables.latents)),
        (
            "explanations.jsonl".to_owned(),
            explanations_jsonl(&tables.explanations),
        ),
    ];
    if !tables.labels.is_empty() {
        files.insert(
            2,
            (format!("{name}_labels.csv"), labels_csv(&tables.labels)),
        );
    }
    files
        .into_iter()
        .map(|(file, text)| store.write_file(&file, text.as_bytes()))
        .collect()
}

fn write_decoding(
    name: &str,
    tables: &DecodingTables,
    store: &Store,
) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = vec![
        (name.to_owned(), steps_csv(tables.steps.iter())),
        (format!("{name}_curves"), curves_csv(tables.curves.iter())),
        (format!("{name}_summary"), summary_csv(&tables.summary)),
        ("accuracy".to_owned(), accuracy_csv(&tables.accuracy)),
        ("accuracy_paired".to_owned(), paired_csv(&tables.paired)),
    ];
    if !tables.positions.is_empty() {
        let text = positions_csv(&tables.positions);
        files.insert(2, (format!("{name}_by_position"), text));
    }
    files
        .into_iter()
        .map(|(file, text)| store.write_file(&format!("{file}.csv"), text.as_bytes()))
        .collect()
}
