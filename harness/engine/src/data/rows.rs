//! The rows of one file, whatever its format: each is a document or says why it is none.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::column::{Cell, ParquetColumn};
use super::documents::DataOptions;
use super::error::DataError;
use super::format::{Format, Layout, recognise};
use super::lines::{Line, Lines};

/// One row of a file.
#[derive(Debug, PartialEq)]
pub(super) enum Row {
    /// A text, possibly empty, and the other fields of its row.
    Text(String, Map<String, Value>),
    /// Why the row cannot be used.
    Bad(String),
}

/// Reads a file row by row.
pub(super) struct Rows {
    path: PathBuf,
    source: Source,
    field: String,
    max_line_bytes: u64,
    number: u64,
}

enum Source {
    Lines(Lines, Option<Layout>),
    Parquet(Box<ParquetColumn>),
}

impl Rows {
    /// Opens `path` in the format that its name and its first bytes agree on.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::Format`], and [`DataError::Parquet`] for a damaged footer or a missing column.
    pub fn open(path: &Path, options: &DataOptions) -> Result<Self, DataError> {
        let io = |source| DataError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(io)?);
        let format = recognise(path, file.fill_buf().map_err(io)?)?;
        let source = match format {
            Format::Lines(packing, layout) => Source::Lines(
                Lines::new(path, file, packing, options.max_line_bytes)?,
                layout,
            ),
            Format::Parquet => Source::Parquet(Box::new(ParquetColumn::open(
                path,
                &options.field,
                options.max_line_bytes,
            )?)),
        };
        Ok(Self {
            path: path.to_owned(),
            source,
            field: options.field.clone(),
            max_line_bytes: options.max_line_bytes,
            number: 0,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Line or row number of what [`Rows::next_row`] gave last, counted from 1; the last line of a paragraph.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next row, or `None` at the end of the file.
    ///
    /// # Errors
    /// [`DataError::Archive`], [`DataError::Parquet`] or [`DataError::Io`]: the rest of the file cannot be read.
    pub fn next_row(&mut self) -> Result<Option<Row>, DataError> {
        match &mut self.source {
            Source::Lines(lines, layout) => {
                let mut number = self.number;
                let row =
                    next_of_lines(lines, layout, &mut number, &self.field, self.max_line_bytes);
                self.number = number;
                row
            }
            Source::Parquet(column) => {
                let cell = column.next_cell()?;
                self.number += u64::from(cell.is_some());
                Ok(cell.map(|cell| match cell {
                    Cell::Text(text) => Row::Text(text, Map::new()),
                    Cell::Null => Row::Bad(format!("column {:?} is null, not text", self.field)),
                    Cell::NotUtf8(at) => Row::Bad(format!("not UTF-8 at byte {at} of the value")),
                    Cell::TooLong(length) => Row::Bad(format!(
                        "a value of {length} bytes, the limit is {}",
                        self.max_line_bytes
                    )),
                }))
            }
        }
    }
}

fn next_of_lines(
    lines: &mut Lines,
    layout: &mut Option<Layout>,
    number: &mut u64,
    field: &str,
    max_line_bytes: u64,
) -> Result<Option<Row>, DataError> {
    let mut paragraph = String::new();
    loop {
        let Some(line) = lines.next_line()? else {
            return Ok((!paragraph.is_empty()).then(|| Row::Text(paragraph, Map::new())));
        };
        *number += 1;
        let bytes = match line {
            Line::Bytes(bytes) => bytes,
            Line::TooLong(length) => {
                return Ok(Some(Row::Bad(format!(
                    "a line of {length} bytes, the limit is {max_line_bytes}"
                ))));
            }
        };
        let bytes = if *number == 1 {
            bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes)
        } else {
            &bytes
        };
        let layout = *layout.get_or_insert_with(|| {
            if bytes.trim_ascii_start().first() == Some(&b'{') {
                Layout::Jsonl
            } else {
                Layout::Text
            }
        });
        if layout == Layout::Jsonl {
            return Ok(Some(match parse_row(bytes, field) {
                Ok((text, fields)) => Row::Text(text, fields),
                Err(reason) => Row::Bad(reason),
            }));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if text.trim().is_empty() => {
                if !paragraph.is_empty() {
                    return Ok(Some(Row::Text(paragraph, Map::new())));
                }
            }
            Ok(text) => {
                if !paragraph.is_empty() {
                    paragraph.push('\n');
                }
                paragraph.push_str(text);
                if paragraph.len() as u64 >= max_line_bytes {
                    return Ok(Some(Row::Text(paragraph, Map::new())));
                }
            }
            Err(error) => {
                return Ok(Some(Row::Bad(format!(
                    "not UTF-8 at byte {} of the line",
                    error.valid_up_to()
                ))));
            }
        }
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
