//! The documents of several files, with every row accounted for.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use harness_contract::stages::MAX_BAD_ROWS;
use serde_json::{Map, Value};

use super::error::{BadRow, DataError};
use super::rows::{Bad, Row, Rows};

/// How files are read.
#[derive(Debug, Clone, PartialEq)]
pub struct DataOptions {
    /// The field of a jsonl row, or the column of a parquet file, that holds the document.
    pub field: String,
    /// What a user writes in front of another name for the field.
    pub naming: &'static str,
    /// Largest tolerated fraction of bad rows.
    pub max_bad_rows: f64,
    /// Bytes of one line or parquet value; a longer one is a bad row. A longer line is never held in memory.
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

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its position in the stream, counted from 0 before anything was skipped: the key of its random numbers.
    pub item: u64,
    /// The text, not empty.
    pub text: String,
    /// The other fields of its row (labels, ids); empty for plain text and parquet.
    pub fields: Map<String, Value>,
}

/// What a stream has seen so far; nothing is dropped without being counted here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataCounts {
    /// Rows read, bad ones included.
    pub rows: u64,
    /// Rows that could not be used.
    pub bad_rows: u64,
    /// Rows whose text is empty; they are passed over and are not bad.
    pub empty: u64,
    /// Documents passed over because of [`DataOptions::skip`].
    pub skipped: u64,
    /// Documents given out.
    pub documents: u64,
    /// The first few bad rows.
    pub examples: Vec<BadRow>,
}

impl DataCounts {
    /// The bad rows in a sentence, with the place of the first; `None` without any.
    pub fn bad_rows_note(&self) -> Option<String> {
        let first = self.examples.first()?;
        let (bad, rows) = (self.bad_rows, self.rows);
        Some(format!(
            "{bad} of {rows} rows of the data cannot be used and are passed over; the first: {first}"
        ))
    }
}

/// Bad rows kept for the report.
const MAX_EXAMPLES: usize = 5;
/// A stream is judged from this many rows on, and at its end; a bad row among the first ten says nothing yet.
const JUDGE_AFTER_ROWS: u64 = 10_000;

/// The documents of several files, in order.
pub struct Documents {
    options: DataOptions,
    files: VecDeque<PathBuf>,
    open: Option<Rows>,
    counts: DataCounts,
    next_item: u64,
    finished: bool,
}

impl Documents {
    /// Opens the first of `files`; the others are opened when their turn comes.
    ///
    /// # Errors
    /// [`DataError::Setting`] without files or with a limit outside 0 to 1; [`DataError::Io`] when one is absent.
    pub fn open(files: &[PathBuf], options: DataOptions) -> Result<Self, DataError> {
        if files.is_empty() {
            return Err(DataError::Setting(
                "no data files (hint: --data FILE)".into(),
            ));
        }
        if !(0.0..=1.0).contains(&options.max_bad_rows) {
            return Err(DataError::Setting(format!(
                "max_bad_rows {}: a fraction of the rows, from 0 to 1",
                options.max_bad_rows
            )));
        }
        for path in files {
            std::fs::metadata(path).map_err(|source| DataError::Io {
                path: path.clone(),
                source,
            })?;
        }
        Ok(Self {
            options,
            files: files.iter().cloned().collect(),
            open: None,
            counts: DataCounts::default(),
            next_item: 0,
            finished: false,
        })
    }

    /// What has been read so far.
    pub fn counts(&self) -> &DataCounts {
        &self.counts
    }

    /// File and line of the document given out last, or row of a parquet file.
    pub fn place(&self) -> Option<(&Path, u64)> {
        self.open.as_ref().map(|file| (file.path(), file.number()))
    }

    /// Judges the bad rows so far; call it when a stream is left before its end.
    ///
    /// # Errors
    /// [`DataError::TooManyBadRows`] above [`DataOptions::max_bad_rows`].
    pub fn check_bad_rows(&self) -> Result<(), DataError> {
        let counts = &self.counts;
        let allowed = (self.options.max_bad_rows * counts.rows as f64).floor() as u64;
        match counts.examples.first() {
            Some(first) if counts.bad_rows > allowed => {
                let (bad, rows, limit) = (counts.bad_rows, counts.rows, self.options.max_bad_rows);
                Err(DataError::TooManyBadRows {
                    bad,
                    rows,
                    allowed,
                    limit,
                    first: first.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    fn bad(&mut self, path: &Path, line: u64, bad: Bad) -> Result<(), DataError> {
        self.counts.bad_rows += 1;
        if self.counts.examples.len() < MAX_EXAMPLES {
            self.counts.examples.push(BadRow {
                path: path.to_owned(),
                line,
                reason: bad.reason,
                hint: bad.hint,
            });
        }
        if self.counts.rows >= JUDGE_AFTER_ROWS || self.options.max_bad_rows == 0.0 {
            self.check_bad_rows()
        } else {
            Ok(())
        }
    }

    fn advance(&mut self) -> Result<Option<Document>, DataError> {
        loop {
            let mut file = match self.open.take() {
                Some(file) => file,
                None => match self.files.pop_front() {
                    Some(path) => Rows::open(&path, &self.options)?,
                    None => {
                        self.check_bad_rows()?;
                        return Ok(None);
                    }
                },
            };
            let Some(row) = file.next_row()? else {
                continue; // the file has ended and is dropped
            };
            self.counts.rows += 1;
            let (text, fields) = match row {
                Row::Text(text, fields) => (text, fields),
                Row::Bad(bad) => {
                    self.bad(file.path(), file.number(), bad)?;
                    self.open = Some(file);
                    continue;
                }
            };
            self.open = Some(file);
            if text.trim().is_empty() {
                self.counts.empty += 1;
                continue;
            }
            let item = self.next_item;
            self.next_item += 1;
            if item < self.options.skip {
                self.counts.skipped += 1;
                continue;
            }
            self.counts.documents += 1;
            return Ok(Some(Document { item, text, fields }));
        }
    }
}

impl Iterator for Documents {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let next = self.advance().transpose();
        self.finished = !matches!(next, Some(Ok(_)));
        next
    }
}
