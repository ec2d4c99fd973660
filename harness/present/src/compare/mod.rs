//! Comparison of two CSV files: rows are matched by key, order does not matter, numbers are
//! compared with tolerances.

mod adapt;
mod diff;
mod report;
mod table;

pub use adapt::PaperNames;
pub use diff::{CompareOptions, Comparison, Difference, Finding, compare};
pub use report::{report_markdown, report_text};
pub use table::{CompareError, CsvTable};
