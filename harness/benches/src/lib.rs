//! The benches: what each kind makes of its cells. A folder a kind, behind [`Results`].
//!
//! [`derive()`] turns the cells of a plan into rows; what it returns writes them as CSV, prints
//! them as text beside the paper's numbers, and draws them.

pub mod autointerp;
pub mod catalogue;
mod columns;
pub mod decoding;
pub mod fidelity;
mod kinds;
mod notes;
mod over_k;
mod paper;
mod results;
pub mod steering;
mod tables;
#[cfg(test)]
mod test_world;
#[cfg(test)]
mod tests;

pub use kinds::{derive, expand, kind_of};
pub use paper::paper_names;
pub use results::{Results, WriteFigureError, write_figures, write_tables};
pub use tables::{columns_page, key_columns};

use harness_plan::bench::RowKind;

use crate::{columns::Table, results::Bench};

/// Writes from the list of rooms what each of them has: its kinds as they are declared, what runs
/// rows of them, and its tables.
macro_rules! rooms {
    ($($room:ident: [$($kind:path),*] run by [$($bench:path),*];)*) => {
        /// The kinds of benches there are, as bench files know them.
        pub static KINDS: &[RowKind] = &[$($(RowKind(&$kind),)*)*];

        /// The kinds that run something.
        static BENCHES: &[&dyn Bench] = &[$($(&$bench,)*)*];

        /// The tables of each room, in the order of the reference page.
        static TABLES: &[fn() -> Vec<Table>] = &[$($room::tables,)*];
    };
}

// The list of the rooms, in the order in which kinds are shown.
rooms! {
    steering: [steering::settings::KIND] run by [steering::Steering];
    fidelity: [fidelity::settings::DOCUMENTS, fidelity::settings::ROLLOUTS]
        run by [fidelity::GRID_ON_DOCUMENTS, fidelity::GRID_ON_ROLLOUTS];
    decoding: [decoding::settings::KIND] run by [decoding::Decoding];
    autointerp: [autointerp::settings::KIND] run by [autointerp::Autointerp];
    catalogue: [catalogue::settings::KIND] run by [];
}
