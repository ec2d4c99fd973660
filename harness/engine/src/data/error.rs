//! What can be wrong with a data file, always with the place.

use std::path::PathBuf;

use crate::text::TextError;

/// One row that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    pub path: PathBuf,
    /// Line number, or row number of a parquet file or a JSON array, counted from 1.
    pub line: u64,
    /// Why the row cannot be used.
    pub reason: String,
    /// What to do about it, where something is known to help.
    pub hint: Option<String>,
}

impl std::fmt::Display for BadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.reason)
    }
}

/// Data that cannot be used (exit code 20, bad input file).
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{path}: {source}", path = path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A gzip member or zstd frame is cut, damaged, or expands beyond reason.
    #[error("{path}: {format}: {detail} (at byte {offset} of the compressed file, after {produced} bytes of text)", path = path.display())]
    Archive {
        path: PathBuf,
        /// `gzip` or `zstd`.
        format: &'static str,
        /// Position in the compressed file, bytes.
        offset: u64,
        /// Text bytes produced so far.
        produced: u64,
        /// What is wrong, with a hint.
        detail: String,
    },
    /// A parquet file is cut, damaged, lacks the column, or expands beyond reason.
    #[error("{path}: parquet: {detail} (at byte {offset})", path = path.display())]
    Parquet {
        path: PathBuf,
        /// Position in the file, bytes.
        offset: u64,
        /// What is wrong, with a hint.
        detail: String,
    },
    /// A format this project does not read, or a name that contradicts the contents.
    #[error("{path}: {detail}", path = path.display())]
    Format {
        path: PathBuf,
        /// What it is, and what would be read.
        detail: String,
    },
    /// More rows were bad than allowed.
    #[error(
        "{bad} of {rows} rows are bad, {allowed} allowed (a share of {limit}); the first: {first} (hint: {hint}, or pass over more of them with --max-bad-rows SHARE)",
        hint = first.hint.as_deref().unwrap_or("mend the rows")
    )]
    TooManyBadRows {
        /// Bad rows so far.
        bad: u64,
        /// Rows so far.
        rows: u64,
        /// How many of those rows may be bad.
        allowed: u64,
        /// The limit as a fraction of the rows.
        limit: f64,
        /// Where the first bad row is.
        first: BadRow,
    },
    /// The files end before the requested amount.
    #[error(
        "the data ends after {found} tokens in {rows} rows, {wanted} were asked for (hint: add files, lower the budget, or pass --allow-short)"
    )]
    TooShort {
        /// Tokens found.
        found: u64,
        /// Rows found.
        rows: u64,
        /// Tokens asked for.
        wanted: u64,
    },
    /// The tokenizer lacks what a packing policy needs, or cannot encode a document.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A packing setting is out of range.
    #[error("{0}")]
    Setting(String),
}
