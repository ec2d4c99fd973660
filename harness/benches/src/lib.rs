//! What the benches show of their results: rows of tables derived from stored cells, figures, and
//! pages of features.

pub mod figure;
pub mod inspect;
mod paper_names;
pub mod report;
pub mod table;

pub use paper_names::paper_names;
