//! Lines of a plain or gzip-compressed file, with bounds on what one line and one archive may take.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::error::DataError;

/// Below this much text the expansion ratio is not looked at: short files of one repeated word are legitimate.
const RATIO_AFTER_BYTES: u64 = 32 << 20;
/// Prose compresses about 3-fold; 300 means the archive was made to expand.
const MAX_RATIO: u64 = 300;

/// One line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The bytes without the line end.
    Bytes(Vec<u8>),
    /// A line longer than the limit; it was passed over without being stored.
    TooLong(u64),
}

/// Reads `path` line by line.
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<Box<dyn Read>>,
    /// Bytes taken from the compressed file; `None` for plain files.
    compressed: Option<Rc<Cell<u64>>>,
    produced: u64,
    max_line_bytes: u64,
}

/// Counts what passes through.
struct Counting<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count.set(self.count.get() + n as u64);
        Ok(n)
    }
}

impl Lines {
    /// Opens `path`; gzip is recognised by its first bytes, whatever the name.
    ///
    /// # Errors
    /// [`DataError::Io`], or [`DataError::Format`] for archives that are not read here.
    pub fn open(path: &Path, max_line_bytes: u64) -> Result<Self, DataError> {
        let io = |source| DataError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(io)?);
        let head = file.fill_buf().map_err(io)?;
        let unread = |what: &str| {
            let detail =
                format!("{what} is not read here (hint: give jsonl, jsonl.gz or plain text)");
            Err(DataError::Format {
                path: path.to_owned(),
                detail,
            })
        };
        match head {
            [0x28, 0xb5, 0x2f, 0xfd, ..] => return unread("zstd"),
            [b'P', b'A', b'R', b'1', ..] => return unread("parquet"),
            [b'P', b'K', 3, 4, ..] => return unread("a zip archive"),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => return unread("xz"),
            _ => {}
        }
        let (reader, compressed): (Box<dyn Read>, _) = if head.starts_with(&[0x1f, 0x8b]) {
            let count = Rc::new(Cell::new(0));
            // A small buffer keeps the reported offset near the damage.
            let counting = BufReader::with_capacity(
                1 << 12,
                Counting {
                    inner: file,
                    count: Rc::clone(&count),
                },
            );
            (Box::new(MultiGzDecoder::new(counting)), Some(count))
        } else {
            (Box::new(file), None)
        };
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(1 << 16, reader),
            compressed,
            produced: 0,
            max_line_bytes,
        })
    }

    /// The next line, or `None` at the end.
    ///
    /// # Errors
    /// [`DataError::Gzip`] for a cut or damaged archive and for one that expands beyond reason; [`DataError::Io`].
    pub fn next_line(&mut self) -> Result<Option<Line>, DataError> {
        let mut line = Vec::new();
        let mut length = 0u64;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) => return Err(self.failure(error)),
            };
            if chunk.is_empty() {
                return Ok((length > 0).then(|| self.finish(line, length)));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(chunk.len());
            length += taken as u64;
            if length <= self.max_line_bytes {
                line.extend_from_slice(&chunk[..taken]);
            } else {
                line = Vec::new();
            }
            let used = taken + usize::from(end.is_some());
            self.reader.consume(used);
            self.produced += used as u64;
            self.check_ratio()?;
            if end.is_some() {
                return Ok(Some(self.finish(line, length)));
            }
        }
    }

    fn finish(&self, mut line: Vec<u8>, length: u64) -> Line {
        if length > self.max_line_bytes {
            return Line::TooLong(length);
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Line::Bytes(line)
    }

    fn check_ratio(&self) -> Result<(), DataError> {
        let Some(count) = &self.compressed else {
            return Ok(());
        };
        if self.produced > RATIO_AFTER_BYTES && self.produced / count.get().max(1) > MAX_RATIO {
            return Err(self.gzip(format!(
                "expands more than {MAX_RATIO}-fold, as a decompression bomb does"
            )));
        }
        Ok(())
    }

    fn failure(&self, error: std::io::Error) -> DataError {
        match (&self.compressed, error.kind()) {
            (Some(_), std::io::ErrorKind::UnexpectedEof) => self.gzip(
                "the file ends in the middle of a member (hint: the download is incomplete)".into(),
            ),
            (Some(_), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData) => self
                .gzip(format!(
                    "{error} (hint: the file is damaged; fetch it again)"
                )),
            _ => DataError::Io {
                path: self.path.clone(),
                source: error,
            },
        }
    }

    fn gzip(&self, detail: String) -> DataError {
        let offset = self.compressed.as_ref().map_or(0, |count| count.get());
        DataError::Gzip {
            path: self.path.clone(),
            offset,
            produced: self.produced,
            detail,
        }
    }
}
