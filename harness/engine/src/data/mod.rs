//! Documents from files, and rows of token ids made from them.
//!
//! ```text
//! files -> Rows (jsonl, JSON, tables and text, plain, gzip or zstd; a column of parquet)
//!       -> Documents (bad rows counted) -> Packer -> TokenRow -> TokenBatch
//! ```
//! Every stage is an iterator with bounded memory. A bad row is skipped, located and counted; more
//! of them than [`DataOptions::max_bad_rows`] allows is an error, as are damaged archives.

mod batch;
mod column;
mod documents;
mod error;
mod foreign;
mod format;
mod guard;
mod json;
mod labels;
mod layout;
mod lines;
mod options;
mod pack;
mod pages;
mod row;
mod rows;
mod stream;
mod table;
#[cfg(test)]
mod tests;

pub use batch::TokenBatch;
pub use documents::{DataCounts, Document, Documents};
pub use error::{BadRow, DataError};
pub use labels::LabelledDocuments;
pub use options::DataOptions;
pub use pack::{PackIds, PackPolicy, Packer, TokenRow};
