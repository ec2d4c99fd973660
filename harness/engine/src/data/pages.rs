//! The page headers of a parquet column chunk, looked at before any page is decompressed.
//!
//! The parquet crate allocates what a page header promises. Here the promises are read first, with a small reader of the
//! Thrift compact protocol that keeps three numbers and passes over the rest.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use ::parquet::basic::Compression;
use flate2::bufread::MultiGzDecoder;

use super::lines::{MAX_RATIO, RATIO_AFTER_BYTES};

/// Bytes of one page, before and after decompression. Writers aim at 1 MiB; a page is larger only where one value is.
const MAX_PAGE_BYTES: u64 = 256 << 20;
/// Structures inside structures in a page header; the format needs three.
const MAX_DEPTH: u32 = 8;

/// A page header that must not be followed.
#[derive(Debug)]
pub(super) struct BadPage {
    /// Where the header is in the file, bytes.
    pub offset: u64,
    /// What is wrong, with a hint.
    pub detail: String,
}

/// Checks every page of the chunk that fills `range` of `file`.
///
/// # Errors
/// [`BadPage`] for a header that is not one, a page that leaves the chunk, and pages that expand beyond reason.
pub(super) fn check_pages(
    file: impl Read + Seek,
    range: Range<u64>,
    codec: Compression,
) -> Result<(), BadPage> {
    let mut file = BufReader::with_capacity(1 << 13, file);
    let (mut at, mut taken, mut produced) = (range.start, 0u64, 0u64);
    while at < range.end {
        let bad = |detail: String| BadPage { offset: at, detail };
        file.seek(SeekFrom::Start(at))
            .map_err(|error| bad(error.to_string()))?;
        let mut reader = Compact {
            inner: (&mut file).take(range.end - at),
            read: 0,
        };
        let header = reader.page_header().map_err(|error| {
            bad(format!(
                "no page header: {error} (hint: the file is damaged; fetch it again)"
            ))
        })?;
        let data = at + reader.read;
        if header.compressed > range.end - data {
            return Err(bad(format!(
                "a page of {} bytes, {} are left of its column (hint: the file is damaged; fetch it again)",
                header.compressed,
                range.end - data
            )));
        }
        let largest = header.compressed.max(header.uncompressed);
        if largest > MAX_PAGE_BYTES {
            return Err(bad(format!(
                "a page of {largest} bytes, the limit is {MAX_PAGE_BYTES}"
            )));
        }
        check_size(&mut file, &header, codec).map_err(bad)?;
        taken += header.compressed;
        produced += header.uncompressed;
        if produced > RATIO_AFTER_BYTES && produced / taken.max(1) > MAX_RATIO {
            return Err(bad(format!(
                "expands more than {MAX_RATIO}-fold, as a decompression bomb does"
            )));
        }
        at = data + header.compressed;
    }
    Ok(())
}

/// Checks that a page does not unpack to more than `header` says where its decoder would not notice; `file` is at its data.
fn check_size(
    file: &mut impl BufRead,
    header: &PageHeader,
    codec: Compression,
) -> Result<(), String> {
    match codec {
        Compression::GZIP(_) if header.packed && header.compressed > header.levels => {
            let (levels, packed) = (header.levels, header.compressed - header.levels);
            let promised = header.uncompressed - levels;
            let unreadable = |error| format!("gzip: {error} (hint: the file is damaged)");
            std::io::copy(&mut file.take(levels), &mut std::io::sink()).map_err(unreadable)?;
            let mut page = MultiGzDecoder::new(file.take(packed)).take(promised + 1);
            let unpacked = std::io::copy(&mut page, &mut std::io::sink()).map_err(unreadable)?;
            if unpacked > promised {
                return Err(format!(
                    "a page of more than the {} bytes its header promises",
                    header.uncompressed
                ));
            }
        }
        // An lz4 byte stands for at most 255 bytes of text.
        Compression::LZ4 if header.compressed > MAX_PAGE_BYTES / 64 => {
            return Err(format!(
                "an lz4 page of {} bytes (hint: write it with LZ4_RAW, zstd or snappy)",
                header.compressed
            ));
        }
        _ => {}
    }
    Ok(())
}

/// The numbers of a page header that matter here.
struct PageHeader {
    /// Bytes after decompression.
    uncompressed: u64,
    /// Bytes in the file.
    compressed: u64,
    /// Bytes in front that are never compressed: the levels of a page of version 2.
    levels: u64,
    /// Whether the rest went through the codec.
    packed: bool,
}

/// Reads Thrift's compact protocol.
struct Compact<R> {
    inner: R,
    /// Bytes read so far.
    read: u64,
}

impl<R: BufRead> Compact<R> {
    fn page_header(&mut self) -> Result<PageHeader, String> {
        let (mut id, mut sizes) = (0i64, [None; 2]);
        let (mut levels, mut packed) = (0, true);
        while let Some(kind) = self.field(&mut id)? {
            match (id, kind) {
                (2 | 3, 5) => sizes[(id - 2) as usize] = Some(self.size()?),
                (8, 12) => {
                    // The header of a data page of version 2.
                    let mut id = 0;
                    while let Some(kind) = self.field(&mut id)? {
                        match (id, kind) {
                            (5 | 6, 5) => levels += self.size()?,
                            (7, 1 | 2) => packed = kind == 1,
                            _ => self.skip(kind, 1)?,
                        }
                    }
                }
                _ => self.skip(kind, 0)?,
            }
        }
        match sizes {
            [Some(uncompressed), Some(compressed)] if levels <= uncompressed.min(compressed) => {
                Ok(PageHeader {
                    uncompressed,
                    compressed,
                    levels,
                    packed,
                })
            }
            [Some(_), Some(_)] => Err("levels longer than the page".into()),
            _ => Err("it names no sizes".into()),
        }
    }

    /// A number of bytes: the format writes it with a sign.
    fn size(&mut self) -> Result<u64, String> {
        let size = self.integer()?;
        let size = i32::try_from(size).map_err(|_| format!("a size of {size}"))?;
        u64::try_from(size).map_err(|_| format!("a size of {size}"))
    }

    fn byte(&mut self) -> Result<u8, String> {
        let mut byte = [0];
        self.inner
            .read_exact(&mut byte)
            .map_err(|_| "the column ends in it".to_string())?;
        self.read += 1;
        Ok(byte[0])
    }

    fn pass(&mut self, bytes: u64) -> Result<(), String> {
        let passed = std::io::copy(&mut (&mut self.inner).take(bytes), &mut std::io::sink())
            .map_err(|error| error.to_string())?;
        self.read += passed;
        if passed < bytes {
            return Err("the column ends in it".into());
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number without end".into())
    }

    /// A zigzag-coded integer.
    fn integer(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The type of the next field, whose number becomes `id`; `None` at the end of the structure.
    fn field(&mut self, id: &mut i64) -> Result<Option<u8>, String> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        *id = match byte >> 4 {
            0 => self.integer()?,
            step => id.saturating_add(i64::from(step)),
        };
        Ok(Some(byte & 0x0f))
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("structures nested too deep".into());
        }
        match kind {
            1 | 2 => Ok(()), // a boolean is its own type
            3 => self.pass(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                self.pass(length)
            }
            9 | 10 => {
                let byte = self.byte()?;
                let n = match byte >> 4 {
                    15 => self.varint()?,
                    n => u64::from(n),
                };
                for _ in 0..n {
                    match byte & 0x0f {
                        1 | 2 => self.pass(1)?, // in a list a boolean is a byte
                        kind => self.skip(kind, depth + 1)?,
                    }
                }
                Ok(())
            }
            12 => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            kind => Err(format!("a field of type {kind}")),
        }
    }
}
