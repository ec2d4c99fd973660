//! One text column of a parquet file, row group by row group and page by page.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::str::Utf8Error;
use std::sync::Arc;

use ::parquet::basic::{Compression, Type};
use ::parquet::column::reader::ColumnReaderImpl;
use ::parquet::data_type::{ByteArray, ByteArrayType};
use ::parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader,
};
use ::parquet::file::serialized_reader::SerializedPageReader;
use ::parquet::schema::types::ColumnDescPtr;

use super::error::DataError;
use super::guard::CheckedPages;
use super::options::{DataOptions, list};
use super::pages::check_pages;

/// Bytes of a footer. That of a 100 GB file with a dozen columns stays below 10 MiB.
const MAX_FOOTER_BYTES: u64 = 64 << 20;
/// `PAR1` in front and at the end, and the footer's length.
const FRAME_BYTES: u64 = 12;

/// One value of the column.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// A text, possibly empty.
    Text(String),
    Null,
    /// Bytes that are no text.
    NotUtf8(Vec<u8>, Utf8Error),
    /// A value longer than the limit, with its length in bytes.
    TooLong(u64),
}

/// Reads one column of a file, value by value.
pub(super) struct ParquetColumn {
    path: PathBuf,
    file: Arc<File>,
    length: u64,
    metadata: ParquetMetaData,
    column: usize,
    max_value_bytes: u64,
    next_group: usize,
    open: Option<Chunk>,
    /// Rows given out, for messages.
    rows: u64,
}

/// The column's part of one row group.
struct Chunk {
    reader: ColumnReaderImpl<ByteArrayType>,
    offset: u64,
    rows_left: u64,
    nullable: bool,
}

impl ParquetColumn {
    /// Opens the column of `path` that `options` name; nothing but the footer is read.
    ///
    /// # Errors
    /// [`DataError::Parquet`] for a damaged or oversized footer, a missing column, and one that
    /// holds no text; [`DataError::Io`].
    pub fn open(path: &Path, options: &DataOptions) -> Result<Self, DataError> {
        let io = |source| DataError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let footer = check_frame(&file, length)
            .map_err(io)?
            .map_err(|detail| damaged(path, length.saturating_sub(8), detail))?;
        let metadata = guarded(|| {
            ParquetMetaDataReader::new()
                .with_page_index_policy(PageIndexPolicy::Skip)
                .parse_and_finish(&file)
        })
        .map_err(|detail| {
            let detail =
                format!("the footer: {detail} (hint: the file is damaged; fetch it again)");
            damaged(path, footer.start, detail)
        })?;
        let column = find_column(&metadata, options)
            .map_err(|detail| damaged(path, footer.start, detail))?;
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(file),
            length,
            metadata,
            column,
            max_value_bytes: options.max_line_bytes,
            next_group: 0,
            open: None,
            rows: 0,
        })
    }

    /// The next value, or `None` after the last row group.
    ///
    /// # Errors
    /// [`DataError::Parquet`] for a damaged, cut or expanding column; [`DataError::Io`].
    pub fn next_cell(&mut self) -> Result<Option<Cell>, DataError> {
        loop {
            let Some(mut chunk) = self.open.take() else {
                if self.next_group == self.metadata.num_row_groups() {
                    return Ok(None);
                }
                self.open = Some(self.open_group(self.next_group)?);
                self.next_group += 1;
                continue;
            };
            if chunk.rows_left == 0 {
                continue;
            }
            let value = guarded(|| read_one(&mut chunk)).map_err(|detail| {
                self.damaged(
                    chunk.offset,
                    format!(
                        "row {} in row group {}: {detail} (hint: the file is damaged; fetch it again)",
                        self.rows + 1,
                        self.next_group - 1
                    ),
                )
            })?;
            chunk.rows_left -= 1;
            self.open = Some(chunk);
            self.rows += 1;
            return Ok(Some(match value {
                None => Cell::Null,
                Some(value) if value.len() as u64 > self.max_value_bytes => {
                    Cell::TooLong(value.len() as u64)
                }
                Some(value) => match std::str::from_utf8(value.data()) {
                    Ok(text) => Cell::Text(text.to_owned()),
                    Err(error) => Cell::NotUtf8(value.data().to_vec(), error),
                },
            }));
        }
    }

    fn open_group(&self, group: usize) -> Result<Chunk, DataError> {
        let metadata = self.metadata.row_group(group);
        let chunk = metadata.column(self.column);
        let wrong = |detail: String| {
            self.damaged(
                0,
                format!("row group {group}: {detail} (hint: the file is damaged; fetch it again)"),
            )
        };
        let rows = u64::try_from(metadata.num_rows())
            .map_err(|_| wrong(format!("{} rows", metadata.num_rows())))?;
        let range = chunk_range(chunk, self.length).map_err(wrong)?;
        if chunk.compression() == Compression::LZO {
            let detail = format!(
                "row group {group}: pages packed with LZO are not read (hint: write the file with zstd, snappy, gzip or none)"
            );
            return Err(self.damaged(range.start, detail));
        }
        // A handle of its own: the reader's handles share one position.
        let file = File::open(&self.path).map_err(|source| DataError::Io {
            path: self.path.clone(),
            source,
        })?;
        check_pages(file, range.clone(), chunk.compression()).map_err(|bad| {
            self.damaged(bad.offset, format!("row group {group}: {}", bad.detail))
        })?;
        let descriptor = chunk.column_descr_ptr();
        let nullable = descriptor.max_def_level() > 0;
        let reader = guarded(|| {
            let pages =
                SerializedPageReader::new(Arc::clone(&self.file), chunk, rows as usize, None)?;
            let pages = CheckedPages::new(pages, rows, nullable);
            Ok(ColumnReaderImpl::new(descriptor, Box::new(pages)))
        })
        .map_err(|detail| self.damaged(range.start, format!("row group {group}: {detail}")))?;
        Ok(Chunk {
            reader,
            offset: range.start,
            rows_left: rows,
            nullable,
        })
    }

    fn damaged(&self, offset: u64, detail: String) -> DataError {
        damaged(&self.path, offset, detail)
    }
}

fn damaged(path: &Path, offset: u64, detail: String) -> DataError {
    DataError::Parquet {
        path: path.to_owned(),
        offset,
        detail,
    }
}

/// One record: values are taken singly so that no more than a page and a value are in memory,
/// whatever the encoding repeats.
fn read_one(chunk: &mut Chunk) -> ::parquet::errors::Result<Option<ByteArray>> {
    let (mut values, mut levels) = (Vec::with_capacity(1), Vec::with_capacity(1));
    let (records, ..) =
        chunk
            .reader
            .read_records(1, chunk.nullable.then_some(&mut levels), None, &mut values)?;
    if records == 0 {
        return Err(::parquet::errors::ParquetError::EOF(format!(
            "the column ends, {} rows of its row group are left",
            chunk.rows_left
        )));
    }
    Ok(values.pop())
}

/// Runs a part of the parquet crate, whose panics on damaged files become messages.
fn guarded<T>(run: impl FnOnce() -> ::parquet::errors::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the decoder gave up".into()),
    }
}

/// Where the footer is, or what is wrong with the ends of the file.
fn check_frame(mut file: &File, length: u64) -> std::io::Result<Result<Range<u64>, String>> {
    if length < FRAME_BYTES {
        return Ok(Err(format!("a file of {length} bytes is none")));
    }
    let mut tail = [0; 8];
    file.seek(SeekFrom::Start(length - 8))?;
    file.read_exact(&mut tail)?;
    let [a, b, c, d, magic @ ..] = tail;
    if &magic != b"PAR1" {
        return Ok(Err(
            "the file does not end as a parquet file (hint: the download is incomplete)".into(),
        ));
    }
    let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
    if footer > length - FRAME_BYTES {
        return Ok(Err(format!(
            "a footer of {footer} bytes in a file of {length} (hint: the file is damaged; fetch it again)"
        )));
    }
    if footer > MAX_FOOTER_BYTES {
        return Ok(Err(format!(
            "a footer of {footer} bytes, the limit is {MAX_FOOTER_BYTES}"
        )));
    }
    Ok(Ok(length - 8 - footer..length - 8))
}

/// The position of the column among the leaves of the schema.
fn find_column(metadata: &ParquetMetaData, options: &DataOptions) -> Result<usize, String> {
    let field = &options.field;
    let schema = metadata.file_metadata().schema_descr();
    let is_text = |column: &ColumnDescPtr| {
        column.max_rep_level() == 0 && column.physical_type() == Type::BYTE_ARRAY
    };
    let name = |column: &ColumnDescPtr| column.path().string();
    let texts: Vec<String> = (schema.columns().iter().filter(|c| is_text(c)))
        .map(name)
        .collect();
    let hint = format!(
        "(hint: name the column that holds the text with {})",
        options.naming(&texts)
    );
    let Some(at) = (schema.columns().iter()).position(|column| name(column) == *field) else {
        let names: Vec<String> = schema.columns().iter().map(name).collect();
        // A column of lists has its values in a leaf of its own.
        let is_nested = |name: &String| name.starts_with(&format!("{field}."));
        if names.iter().any(is_nested) {
            return Err(format!(
                "column {field:?} holds lists or records, not texts {hint}"
            ));
        }
        return Err(format!(
            "no column {field:?}; the file has {} {hint}",
            list(&names)
        ));
    };
    let column = schema.column(at);
    if column.max_rep_level() > 0 {
        return Err(format!("column {field:?} holds lists, not texts {hint}"));
    }
    if column.physical_type() != Type::BYTE_ARRAY {
        let physical = column.physical_type();
        return Err(format!("column {field:?} is {physical}, not text {hint}"));
    }
    Ok(at)
}

/// The bytes a chunk occupies, all of them between the file's ends.
fn chunk_range(chunk: &ColumnChunkMetaData, length: u64) -> Result<Range<u64>, String> {
    if let Some(file) = chunk.file_path() {
        return Err(format!("its column is in another file, {file:?}"));
    }
    let start = chunk
        .dictionary_page_offset()
        .unwrap_or(chunk.data_page_offset());
    let size = chunk.compressed_size();
    let range = u64::try_from(start)
        .ok()
        .zip(u64::try_from(size).ok())
        .and_then(|(start, size)| Some(start..start.checked_add(size)?))
        .filter(|range| range.end <= length);
    range.ok_or_else(|| {
        format!("its column is said to be {size} bytes at {start}, the file has {length}")
    })
}
