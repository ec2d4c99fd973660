//! The bytes of a plain, gzip- or zstd-compressed file, with bounds on what an archive may expand
//! to.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::error::DataError;

/// Below this much text the expansion ratio is not looked at: short files of one repeated word are
/// legitimate.
pub(super) const RATIO_AFTER_BYTES: u64 = 32 << 20;
/// Prose compresses about 3-fold; 300 means the archive was made to expand.
pub(super) const MAX_RATIO: u64 = 300;
/// Base-2 logarithm of the largest zstd window, bytes: the decoder keeps that much text in memory.
const MAX_WINDOW_LOG: u32 = 27;
/// Bytes of the text by which its layout is recognised.
const HEAD_BYTES: usize = 1 << 16;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How the bytes of a file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    /// One or more gzip members.
    Gzip,
    /// One or more zstd frames.
    Zstd,
}

/// Unpacked bytes of a file, from its beginning and without a byte order mark.
pub(super) struct Stream {
    path: PathBuf,
    reader: BufReader<Box<dyn Read>>,
    head: Vec<u8>,
    /// Bytes taken from the compressed file; `None` for plain files.
    compressed: Option<Compressed>,
    produced: u64,
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

/// An error that came while the head was read. It is met again where it belongs, after the head.
struct Failing(Option<std::io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

impl Stream {
    /// Reads `file`, which is `path` from its beginning.
    ///
    /// # Errors
    /// [`DataError::Io`] when a decoder cannot be set up.
    pub fn new(path: &Path, file: BufReader<File>, packing: Packing) -> Result<Self, DataError> {
        let taken = Rc::new(Cell::new(0));
        let count = Rc::clone(&taken);
        // A small buffer keeps the reported offset near the damage.
        let counting = |file| BufReader::with_capacity(1 << 12, Counting { inner: file, count });
        let (mut inner, format): (Box<dyn Read>, _) = match packing {
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
        let mut head = Vec::new();
        let failing = Failing(
            (&mut inner)
                .take(HEAD_BYTES as u64)
                .read_to_end(&mut head)
                .err(),
        );
        if head.starts_with(BYTE_ORDER_MARK) {
            head.drain(..BYTE_ORDER_MARK.len());
        }
        let rest: Box<dyn Read> = match failing.0 {
            Some(_) => Box::new(failing),
            None => inner,
        };
        let whole: Box<dyn Read> = Box::new(Cursor::new(head.clone()).chain(rest));
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(1 << 16, whole),
            head,
            compressed: format.map(|format| Compressed { format, taken }),
            produced: 0,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The first bytes, as far as they are needed to tell one layout from another.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The bytes that come next; none at the end.
    ///
    /// # Errors
    /// [`DataError::Archive`] for a cut or damaged archive; [`DataError::Io`].
    pub fn fill(&mut self) -> Result<&[u8], DataError> {
        loop {
            match self.reader.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure(error)),
            }
        }
        Ok(self.reader.buffer())
    }

    /// Passes over the first `n` of them.
    ///
    /// # Errors
    /// [`DataError::Archive`] for an archive that expands beyond reason.
    pub fn consume(&mut self, n: usize) -> Result<(), DataError> {
        self.reader.consume(n);
        self.produced += n as u64;
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
            // The decoders' own errors carry no code of the system's; one with a code came from
            // reading the file.
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
