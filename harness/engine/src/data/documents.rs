//! Documents from jsonl and plain text files.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::{BadRow, DataError};
use super::lines::{Line, Lines};

/// How files are read.
#[derive(Debug, Clone, PartialEq)]
pub struct DataOptions {
    /// The field of a jsonl row that holds the document.
    pub field: String,
    /// Largest tolerated fraction of bad rows.
    pub max_bad_rows: f64,
    /// Bytes of one line; a longer one is a bad row and is never held in memory.
    pub max_line_bytes: u64,
    /// Documents to pass over first.
    pub skip: u64,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self {
            field: "text".into(),
            max_bad_rows: 0.001,
            max_line_bytes: 64 << 20,
            skip: 0,
        }
    }
}

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its position in the stream, counted from 0 before anything was skipped: the key of its random numbers.
    pub item: u64,
    /// The text, not empty.
    pub text: String,
    /// The other fields of its row (labels, ids); empty for plain text.
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

/// Bad rows kept for the report.
const MAX_EXAMPLES: usize = 5;
/// A stream is judged from this many rows on, and at its end; a bad row among the first ten says nothing yet.
const JUDGE_AFTER_ROWS: u64 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Jsonl,
    /// Documents are paragraphs: they end at a blank line.
    Text,
}

/// The documents of several files, in order.
pub struct Documents {
    options: DataOptions,
    files: VecDeque<PathBuf>,
    open: Option<OpenFile>,
    counts: DataCounts,
    next_item: u64,
    finished: bool,
}

struct OpenFile {
    path: PathBuf,
    lines: Lines,
    layout: Option<Layout>,
    line: u64,
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
                "--max-bad-rows {}: a fraction of the rows, from 0 to 1",
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

    fn bad(&mut self, path: &Path, line: u64, reason: String) -> Result<(), DataError> {
        self.counts.bad_rows += 1;
        if self.counts.examples.len() < MAX_EXAMPLES {
            self.counts.examples.push(BadRow {
                path: path.to_owned(),
                line,
                reason,
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
                    Some(path) => {
                        let lines = Lines::open(&path, self.options.max_line_bytes)?;
                        OpenFile {
                            layout: layout_by_name(&path),
                            path,
                            lines,
                            line: 0,
                        }
                    }
                    None => {
                        self.check_bad_rows()?;
                        return Ok(None);
                    }
                },
            };
            let Some(found) = self.read_row(&mut file)? else {
                continue;
            }; // the file has ended and is dropped
            self.open = Some(file);
            let Some((text, fields)) = found else {
                continue;
            };
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

    /// One row of `file`: `None` at its end, `Some(None)` for a bad row.
    #[allow(clippy::type_complexity)]
    fn read_row(
        &mut self,
        file: &mut OpenFile,
    ) -> Result<Option<Option<(String, Map<String, Value>)>>, DataError> {
        let mut paragraph = String::new();
        loop {
            let Some(line) = file.lines.next_line()? else {
                if paragraph.is_empty() {
                    return Ok(None);
                }
                self.counts.rows += 1;
                return Ok(Some(Some((paragraph, Map::new()))));
            };
            file.line += 1;
            let bytes = match line {
                Line::Bytes(bytes) => bytes,
                Line::TooLong(length) => {
                    self.counts.rows += 1;
                    let reason = format!(
                        "a line of {length} bytes, the limit is {}",
                        self.options.max_line_bytes
                    );
                    self.bad(&file.path, file.line, reason)?;
                    return Ok(Some(None));
                }
            };
            let bytes = if file.line == 1 {
                bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes)
            } else {
                &bytes
            };
            let layout = *file.layout.get_or_insert_with(|| {
                if bytes.trim_ascii_start().first() == Some(&b'{') {
                    Layout::Jsonl
                } else {
                    Layout::Text
                }
            });
            if layout == Layout::Jsonl {
                self.counts.rows += 1;
                return match parse_row(bytes, &self.options.field) {
                    Ok(row) => Ok(Some(Some(row))),
                    Err(reason) => {
                        self.bad(&file.path, file.line, reason)?;
                        Ok(Some(None))
                    }
                };
            }
            match std::str::from_utf8(bytes) {
                Ok(text) if text.trim().is_empty() => {
                    if !paragraph.is_empty() {
                        self.counts.rows += 1;
                        return Ok(Some(Some((paragraph, Map::new()))));
                    }
                }
                Ok(text) => {
                    if !paragraph.is_empty() {
                        paragraph.push('\n');
                    }
                    paragraph.push_str(text);
                    if paragraph.len() as u64 >= self.options.max_line_bytes {
                        self.counts.rows += 1;
                        return Ok(Some(Some((paragraph, Map::new()))));
                    }
                }
                Err(error) => {
                    self.counts.rows += 1;
                    self.bad(
                        &file.path,
                        file.line,
                        format!("not UTF-8 at byte {} of the line", error.valid_up_to()),
                    )?;
                    return Ok(Some(None));
                }
            }
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

/// The layout a file name promises; other names are judged by their first line.
fn layout_by_name(path: &Path) -> Option<Layout> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    if name.ends_with(".jsonl") || name.ends_with(".ndjson") {
        Some(Layout::Jsonl)
    } else if name.ends_with(".txt") || name.ends_with(".text") {
        Some(Layout::Text)
    } else {
        None
    }
}

fn parse_row(bytes: &[u8], field: &str) -> Result<(String, Map<String, Value>), String> {
    if bytes.trim_ascii().is_empty() {
        return Err("a blank line".into());
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("not UTF-8 at byte {} of the line", error.valid_up_to()))?;
    let row: Value = serde_json::from_str(text)
        .map_err(|error| format!("not JSON at column {}", error.column()))?;
    let Value::Object(mut row) = row else {
        return Err("a JSON value that is no object".into());
    };
    match row.shift_remove(field) {
        Some(Value::String(text)) => Ok((text, row)),
        Some(other) => Err(format!("field {field:?} is {}, not text", kind(&other))),
        None => Err(format!(
            "no field {field:?}; it has {:?}",
            row.keys().take(8).collect::<Vec<_>>()
        )),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
