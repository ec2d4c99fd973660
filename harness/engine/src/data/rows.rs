//! The rows of one file, whatever its format: each is a document or says why it is none.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use harness_weights::replace_python_numbers;
use serde_json::{Map, Value};

use super::column::{Cell, ParquetColumn};
use super::error::DataError;
use super::format::{Format, recognise, refuse_foreign};
use super::json::JsonRecords;
use super::layout::{Layout, layout_of};
use super::lines::{Line, Lines};
use super::options::{DataOptions, list};
use super::row::{Bad, Row};
use super::stream::Stream;
use super::table::Table;

/// Names under which an object around all records holds them.
const WRAPPERS: [&str; 7] = [
    "data",
    "rows",
    "records",
    "examples",
    "items",
    "documents",
    "train",
];
/// Reads a file row by row.
pub(super) struct Rows {
    path: PathBuf,
    source: Source,
    options: DataOptions,
    number: u64,
}

enum Source {
    Jsonl(Lines),
    Paragraphs {
        lines: Lines,
        /// Whether the paragraph under way was given out as a bad row.
        is_bad: bool,
    },
    Json(JsonRecords),
    Table(Box<Table>),
    Parquet(Box<ParquetColumn>),
}

impl Rows {
    /// Opens `path` in the format that its name and its first bytes agree on.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::Format`], and [`DataError::Parquet`] for a damaged footer or
    /// a missing column.
    pub fn open(path: &Path, options: &DataOptions) -> Result<Self, DataError> {
        let io = |source| DataError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(io)?);
        let source = match recognise(path, file.fill_buf().map_err(io)?)? {
            Format::Parquet => Source::Parquet(Box::new(ParquetColumn::open(path, options)?)),
            Format::Stream(packing, promise) => {
                let stream = Stream::new(path, file, packing)?;
                refuse_foreign(path, stream.head())?;
                let layout =
                    layout_of(promise, stream.head(), &options.field).map_err(|detail| {
                        DataError::Format {
                            path: path.to_owned(),
                            detail,
                        }
                    })?;
                let most = options.max_line_bytes;
                match layout {
                    Layout::Jsonl => Source::Jsonl(Lines::new(stream, most)),
                    Layout::Text => Source::Paragraphs {
                        lines: Lines::new(stream, most),
                        is_bad: false,
                    },
                    Layout::Json(sequence) => {
                        Source::Json(JsonRecords::new(stream, sequence, most))
                    }
                    Layout::Table(delimiter) => {
                        Source::Table(Box::new(Table::open(stream, delimiter, options)?))
                    }
                }
            }
        };
        Ok(Self {
            path: path.to_owned(),
            source,
            options: options.clone(),
            number: 0,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Line, record or row number of what [`Rows::next_row`] gave last, counted from 1; of a
    /// paragraph its last line, or the one that cannot be used.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next row, or `None` at the end of the file.
    ///
    /// # Errors
    /// [`DataError::Archive`], [`DataError::Parquet`], [`DataError::Format`] or [`DataError::Io`]:
    /// the rest of the file cannot be read.
    pub fn next_row(&mut self) -> Result<Option<Row>, DataError> {
        let options = &self.options;
        let line = match &mut self.source {
            Source::Jsonl(lines) => lines.next_line()?,
            Source::Json(records) => records.next_record()?,
            Source::Paragraphs { lines, is_bad } => {
                return next_paragraph(lines, is_bad, &mut self.number, options.max_line_bytes);
            }
            Source::Table(table) => {
                let row = table.next_row()?;
                return Ok(row.map(|(line, row)| {
                    self.number = line;
                    row
                }));
            }
            Source::Parquet(column) => {
                let cell = column.next_cell()?;
                self.number += u64::from(cell.is_some());
                return Ok(cell.map(|cell| of_cell(cell, options)));
            }
        };
        self.number += u64::from(line.is_some());
        Ok(line.map(|line| match line {
            Line::Bytes(bytes) => match parse_row(&bytes, options) {
                Ok((text, fields)) => Row::Text(text, fields),
                Err(bad) => Row::Bad(bad),
            },
            Line::TooLong(length) => Row::Bad(too_long("line", length, options.max_line_bytes)),
        }))
    }
}

fn too_long(what: &str, length: u64, limit: u64) -> Bad {
    Bad::of(format!("a {what} of {length} bytes, the limit is {limit}"))
}

fn of_cell(cell: Cell, options: &DataOptions) -> Row {
    Row::Bad(match cell {
        Cell::Text(text) => return Row::Text(text, Map::new()),
        Cell::Null => Bad::of(format!("column {:?} is null, not text", options.field)),
        Cell::NotUtf8(bytes, error) => Bad::not_utf8(&bytes, error, "value"),
        Cell::TooLong(length) => too_long("value", length, options.max_line_bytes),
    })
}

/// The next paragraph. A line that cannot be used makes all of it one bad row, told at that line.
fn next_paragraph(
    lines: &mut Lines,
    is_bad: &mut bool,
    number: &mut u64,
    max_line_bytes: u64,
) -> Result<Option<Row>, DataError> {
    let mut paragraph = String::new();
    loop {
        let Some(line) = lines.next_line()? else {
            return Ok((!paragraph.is_empty()).then(|| Row::Text(paragraph, Map::new())));
        };
        *number += 1;
        let text = match &line {
            Line::Bytes(bytes) => {
                std::str::from_utf8(bytes).map_err(|error| Bad::not_utf8(bytes, error, "line"))
            }
            Line::TooLong(length) => Err(too_long("line", *length, max_line_bytes)),
        };
        match text {
            Ok(text) if text.trim().is_empty() => {
                *is_bad = false;
                if !paragraph.is_empty() {
                    return Ok(Some(Row::Text(paragraph, Map::new())));
                }
            }
            _ if *is_bad => {}
            Ok(text) => {
                if !paragraph.is_empty() {
                    paragraph.push('\n');
                }
                paragraph.push_str(text);
                if paragraph.len() as u64 >= max_line_bytes {
                    return Ok(Some(Row::Text(paragraph, Map::new())));
                }
            }
            Err(bad) => {
                *is_bad = true;
                return Ok(Some(Row::Bad(bad)));
            }
        }
    }
}

fn parse_row(bytes: &[u8], options: &DataOptions) -> Result<(String, Map<String, Value>), Bad> {
    if bytes.trim_ascii().is_empty() {
        return Err(Bad::of("a blank line"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Bad::not_utf8(bytes, error, "line"))?;
    let row: Value = serde_json::from_str(text)
        .or_else(|error| {
            // A number that is none is no value: where it stands for the text there is no text.
            match replace_python_numbers(text, |_| "null".to_owned()) {
                Cow::Owned(text) => serde_json::from_str(&text),
                Cow::Borrowed(_) => Err(error),
            }
        })
        .map_err(|error| Bad::of(format!("not JSON at column {}", error.column())))?;
    let Value::Object(mut row) = row else {
        return Err(Bad::of("a JSON value that is no object"));
    };
    match row.shift_remove(&options.field) {
        Some(Value::String(text)) => Ok((text, row)),
        Some(other) => Err(Bad {
            reason: format!("field {:?} is {}, not text", options.field, kind(&other)),
            hint: kind_hint(&other),
        }),
        None => Err(without_field(&row, options)),
    }
}

/// A row without the field: the fields it has, and how to name one of them.
fn without_field(row: &Map<String, Value>, options: &DataOptions) -> Bad {
    let names: Vec<String> = row.keys().cloned().collect();
    let reason = format!("no field {:?}; it has {}", options.field, list(&names));
    // Lists of objects are also parts of a record, as the messages of a chat are.
    let holds_records = |(name, value): &(&String, &Value)| {
        let first = value.as_array().and_then(|values| values.first());
        first.is_some_and(|first| {
            let is_wrapper = WRAPPERS.contains(&name.as_str());
            first.is_object() && (is_wrapper || first.get(&options.field).is_some())
        })
    };
    let hint = match row.iter().find(holds_records) {
        Some((name, _)) => format!(
            "one JSON object around all records is not read; write the list in its field {name:?} by itself: \
             `jq -c '.[{name:?}][]' FILE > NEW.jsonl`"
        ),
        None => {
            let texts: Vec<String> = row
                .iter()
                .filter(|(_, value)| value.is_string())
                .map(|(name, _)| name.clone())
                .collect();
            let naming = options.naming(&texts);
            format!("name the field that holds the text with {naming}")
        }
    };
    Bad {
        reason,
        hint: Some(hint),
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

fn kind_hint(value: &Value) -> Option<String> {
    match value {
        Value::Array(_) => {
            Some("a row holds one text: join its list, or write a row for each".into())
        }
        Value::Object(_) => Some(
            "write a row for each text; of pandas with orient=\"records\" and lines=True".into(),
        ),
        _ => None,
    }
}
