//! How files are read, and how messages name the field that is read.

use harness_contract::stages::MAX_BAD_ROWS;

/// Names that a message lists.
const LISTED: usize = 8;

/// How files are read.
#[derive(Debug, Clone, PartialEq)]
pub struct DataOptions {
    /// The field of a jsonl row, or the column of a parquet file, that holds the document.
    pub field: String,
    /// What a user writes in front of another name for the field.
    pub naming: &'static str,
    /// Largest tolerated fraction of bad rows.
    pub max_bad_rows: f64,
    /// Bytes of one line or parquet value; a longer one is a bad row. A longer line is never held
    /// in memory.
    pub max_line_bytes: u64,
    /// Documents to pass over first.
    pub skip: u64,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self {
            field: "text".into(),
            naming: "--set text_field=",
            max_bad_rows: MAX_BAD_ROWS,
            max_line_bytes: 64 << 20,
            skip: 0,
        }
    }
}

impl DataOptions {
    /// How to name another field: the only one of `names`, or any.
    pub(super) fn naming(&self, names: &[String]) -> String {
        match names {
            [one] => format!("{}{one}", self.naming),
            _ => format!("{}NAME", self.naming),
        }
    }
}

/// The first of some names, for a message.
pub(super) fn list(names: &[String]) -> String {
    let named = &names[..names.len().min(LISTED)];
    match names.len() - named.len() {
        0 => format!("{named:?}"),
        more => format!("{named:?} and {more} more"),
    }
}
