//! Tables of results: rows derived from stored cells, as CSV and as text beside the paper's numbers.

mod catalogue;
mod columns;
mod grid;
mod paper;
mod print;
mod print_grid;
mod rows;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_grid;
mod text;
mod wide;

pub use catalogue::{Listed, list_sets};
pub use columns::{
    GRID_COLUMNS, STEERING_COLUMNS, TABLE2_COLUMNS, TABLE4_COLUMNS, grid_csv, steering_csv,
    table2_csv, table4_csv,
};
pub use grid::Coverage;
pub use paper::{PaperScores, paper_ev, paper_table2, paper_table4_minutes};
pub use print::print_tables;
pub use rows::{Derived, derive};
pub use text::{Align, Style, TextTable};
pub use wide::{DELTA_COLUMNS, EV_COLUMNS, TRANSFER_COLUMNS, wide_csv};

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
        TableKind::Grid | TableKind::Rollouts => {
            let rows = [derived.grid.as_slice(), &derived.rollouts].concat();
            paths.push(store.write_file(&format!("{name}.csv"), grid_csv(&rows).as_bytes())?);
        }
        // Figures are views, and catalogue benches have no plan.
        TableKind::Delta
        | TableKind::Ev
        | TableKind::Transfer
        | TableKind::Table1
        | TableKind::Table3 => {}
    }
    for view in &plan.views {
        let text = wide_csv(view, plan, derived);
        paths.push(store.write_file(&format!("{}.csv", view.name), text.as_bytes())?);
    }
    Ok(paths)
}
