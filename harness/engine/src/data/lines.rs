//! Lines of a plain, gzip- or zstd-compressed file, with bounds on what one line and one archive may take.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::error::DataError;
use super::format::Packing;

/// Below this much text the expansion ratio is not looked at: short files of one repeated word are legitimate.
pub(super) const RATIO_AFTER_BYTES: u64 = 32 << 20;
/// Prose compresses about 3-fold; 300 means the archive was made to expand.
pub(super) const MAX_RATIO: u64 = 300;
/// Base-2 logarithm of the largest zstd window, bytes: the decoder keeps that much text in memory.
const MAX_WINDOW_LOG: u32 = 27;

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
    compressed: Option<Compressed>,
    produced: u64,
    max_line_bytes: u64,
}

struct Compressed {
    format: &'static str,
    taken: Rc<Cell<u64>>,
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
    /// Reads `file`, which is `path` from its beginning.
    ///
    /// # Errors
    /// [`DataError::Io`] when a decoder cannot be set up.
    pub fn new(
        path: &Path,
        file: BufReader<File>,
        packing: Packing,
        max_line_bytes: u64,
    ) -> Result<Self, DataError> {
        let taken = Rc::new(Cell::new(0));
        let count = Rc::clone(&taken);
        // A small buffer keeps the reported offset near the damage.
        let counting = |file| BufReader::with_capacity(1 << 12, Counting { inner: file, count });
        let (reader, format): (Box<dyn Read>, _) = match packing {
            Packing::Plain => (Box::new(file), None),
            Packing::Gzip => (Box::new(MultiGzDecoder::new(counting(file))), Some("gzip")),
            Packing::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(counting(file)).and_then(
                    |mut decoder| {
                        decoder.window_log_max(MAX_WINDOW_LOG)?;
                        Ok(decoder)
                    },
                );
                let decoder = decoder.map_err(|source| DataError::Io {
                    path: path.to_owned(),
                    source,
                })?;
                (Box::new(decoder), Some("zstd"))
            }
        };
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(1 << 16, reader),
            compressed: format.map(|format| Compressed { format, taken }),
            produced: 0,
            max_line_bytes,
        })
    }

    /// The next line, or `None` at the end.
    ///
    /// # Errors
    /// [`DataError::Archive`] for a cut or damaged archive and for one that expands beyond reason; [`DataError::Io`].
    pub fn next_line(&mut self) -> Result<Option<Line>, DataError> {
        let mut line = Vec::new();
        let mut length = 0u64;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
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
        let Some(compressed) = &self.compressed else {
            return Ok(());
        };
        let taken = compressed.taken.get().max(1);
        if self.produced > RATIO_AFTER_BYTES && self.produced / taken > MAX_RATIO {
            return Err(self.damaged(
                compressed,
                format!("expands more than {MAX_RATIO}-fold, as a decompression bomb does"),
            ));
        }
        Ok(())
    }

    fn failure(&self, error: std::io::Error) -> DataError {
        match &self.compressed {
            // The decoders' own errors carry no code of the system's; one with a code came from reading the file.
            Some(compressed) if error.raw_os_error().is_none() => {
                let message = error.to_string();
                let detail = if error.kind() == ErrorKind::UnexpectedEof {
                    "the file ends in the middle of a member (hint: the download is incomplete)"
                        .into()
                } else if message.contains("requires too much memory") {
                    format!(
                        "a frame needs a window of more than {} MiB (hint: compress it again without --ultra or --long)",
                        (1u64 << MAX_WINDOW_LOG) >> 20
                    )
                } else {
                    format!("{message} (hint: the file is damaged; fetch it again)")
                };
                self.damaged(compressed, detail)
            }
            _ => DataError::Io {
                path: self.path.clone(),
                source: error,
            },
        }
    }

    fn damaged(&self, compressed: &Compressed, detail: String) -> DataError {
        DataError::Archive {
            path: self.path.clone(),
            format: compressed.format,
            offset: compressed.taken.get(),
            produced: self.produced,
            detail,
        }
    }
}
