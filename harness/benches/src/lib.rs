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

pub use kinds::{KINDS, derive, expand, kind_of};
pub use paper::paper_names;
pub use results::{Results, WriteFigureError, write_figures, write_tables};
pub use tables::{columns_page, key_columns};
