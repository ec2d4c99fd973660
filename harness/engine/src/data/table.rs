//! Tables with a header line: values with commas, semicolons or tabs between them.

use std::cell::Cell;
use std::io::Read;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;

use csv::ByteRecord;
use serde_json::{Map, Value};

use super::error::DataError;
use super::options::{DataOptions, list};
use super::row::{Bad, Row};
use super::stream::Stream;

/// Bytes that the reader may be ahead of the record it gives out.
const READ_AHEAD: u64 = 1 << 16;

/// The rows of a table.
pub(super) struct Table {
    path: PathBuf,
    reader: csv::Reader<Bounded>,
    /// Bytes that may still be read for the record under way.
    left: Rc<Cell<u64>>,
    columns: Vec<String>,
    column: usize,
    is_tabbed: bool,
    max_line_bytes: u64,
    record: ByteRecord,
    /// Lines that a quotation mark of an earlier line took in; each is a bad row.
    taken_in: Range<u64>,
}

/// A stream that ends with an error where one record goes on for too long, as after a quotation
/// mark that nothing closes.
struct Bounded {
    stream: Stream,
    left: Rc<Cell<u64>>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let chunk = self.stream.fill().map_err(std::io::Error::other)?;
        let n = chunk.len().min(buffer.len());
        buffer[..n].copy_from_slice(&chunk[..n]);
        self.stream.consume(n).map_err(std::io::Error::other)?;
        let left = self.left.get().checked_sub(n as u64).ok_or_else(|| {
            std::io::Error::other(DataError::Format {
                path: self.stream.path().to_owned(),
                detail: "a table of which one record does not end (hint: is a quotation mark left open?)"
                    .into(),
            })
        })?;
        self.left.set(left);
        Ok(n)
    }
}

impl Table {
    /// The rows of `stream`, whose values have `delimiter` between them.
    ///
    /// # Errors
    /// [`DataError::Format`] for a header without the column; those of the stream.
    pub fn open(stream: Stream, delimiter: u8, options: &DataOptions) -> Result<Self, DataError> {
        let path = stream.path().to_owned();
        let left = Rc::new(Cell::new(options.max_line_bytes + READ_AHEAD));
        let bounded = Bounded {
            stream,
            left: Rc::clone(&left),
        };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .from_reader(bounded);
        let header = match reader.byte_headers() {
            Ok(header) => header.clone(),
            Err(error) => return Err(failure(&path, error)),
        };
        let columns: Vec<String> = header
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim().to_owned())
            .collect();
        let Some(column) = columns.iter().position(|name| *name == options.field) else {
            let name = match delimiter {
                b'\t' => "TSV",
                _ => "CSV",
            };
            return Err(DataError::Format {
                path,
                detail: format!(
                    "{name}: no column {:?}; its first line names {} (hint: name the column that holds the text with {})",
                    options.field,
                    list(&columns),
                    options.naming(&columns),
                ),
            });
        };
        Ok(Self {
            path,
            reader,
            left,
            columns,
            column,
            is_tabbed: delimiter == b'\t',
            max_line_bytes: options.max_line_bytes,
            record: ByteRecord::new(),
            taken_in: 0..0,
        })
    }

    /// The next row with the number of its first line, or `None` after the last.
    ///
    /// # Errors
    /// [`DataError::Format`] for a record without an end; those of the stream.
    pub fn next_row(&mut self) -> Result<Option<(u64, Row)>, DataError> {
        if let Some(line) = self.taken_in.next() {
            let bad = Bad::of("a quotation mark of an earlier line takes this one in");
            return Ok(Some((line, Row::Bad(bad))));
        }
        self.left.set(self.max_line_bytes + READ_AHEAD);
        match self.reader.read_byte_record(&mut self.record) {
            Err(error) => return Err(failure(&self.path, error)),
            Ok(false) => return Ok(None),
            Ok(true) => {}
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        let lines = self.lines(self.reader.position().line().saturating_sub(line));
        if self.is_tabbed && lines > 1 {
            // Many writers of tabbed values know no quotation, and their rows would be one.
            self.taken_in = line + 1..line + lines;
            let bad = Bad::of(format!(
                "a value begins with a quotation mark and goes on for {lines} lines"
            ));
            return Ok(Some((line, Row::Bad(bad))));
        }
        Ok(Some((line, self.row())))
    }

    /// Lines of the record. `n_ends` line ends were read for it, those of blank lines before it
    /// included.
    fn lines(&self, n_ends: u64) -> u64 {
        let values = self.record.as_slice();
        let within = values.iter().filter(|byte| **byte == b'\n').count() as u64;
        // A value that only the end of the file closes holds the end of its last line.
        let is_open = values.ends_with(b"\n") && n_ends == within;
        within + u64::from(!is_open)
    }

    fn row(&self) -> Row {
        let (n, wanted) = (self.record.len(), self.columns.len());
        if n != wanted {
            return Row::Bad(Bad::of(format!(
                "{n} values, the table has {wanted} columns"
            )));
        }
        let value = &self.record[self.column];
        if value.len() as u64 > self.max_line_bytes {
            let (length, limit) = (value.len(), self.max_line_bytes);
            return Row::Bad(Bad::of(format!(
                "a value of {length} bytes, the limit is {limit}"
            )));
        }
        let text = match std::str::from_utf8(value) {
            Ok(text) => text.to_owned(),
            Err(error) => return Row::Bad(Bad::not_utf8(value, error, "value")),
        };
        let others = self.columns.iter().zip(self.record.iter()).enumerate();
        let fields: Map<String, Value> = others
            .filter(|(at, _)| *at != self.column)
            .map(|(_, (name, value))| {
                let value = String::from_utf8_lossy(value).into_owned();
                (name.clone(), Value::String(value))
            })
            .collect();
        Row::Text(text, fields)
    }
}

/// What a reader of tables says of a file: an error of the stream below it is that error.
fn failure(path: &std::path::Path, error: csv::Error) -> DataError {
    let message = error.to_string();
    let below = match error.into_kind() {
        csv::ErrorKind::Io(error) => error.downcast::<DataError>().ok(),
        _ => None,
    };
    below.unwrap_or_else(|| DataError::Format {
        path: path.to_owned(),
        detail: format!("a table that cannot be read: {message}"),
    })
}
