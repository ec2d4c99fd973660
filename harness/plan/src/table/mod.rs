//! Tables of results: rows derived from stored cells, as CSV and as text beside the paper's numbers.

mod columns;
mod paper;
mod print;
mod rows;
#[cfg(test)]
mod tests;
mod text;

pub use columns::{
    STEERING_COLUMNS, TABLE2_COLUMNS, TABLE4_COLUMNS, steering_csv, table2_csv, table4_csv,
};
pub use paper::{PaperScores, paper_table2, paper_table4_minutes};
pub use print::print_tables;
pub use rows::{Derived, derive};
pub use text::{Align, Style, TextTable};

use std::path::PathBuf;

use crate::{
    bench::TableKind,
    expand::Plan,
    store::{Store, StoreError},
};

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
    }
    Ok(paths)
}
