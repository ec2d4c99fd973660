//! The page headers of a parquet column chunk, looked at before any page is decompressed.
//!
//! The parquet crate allocates what a page header promises. Here the promises are read first, with
//! a small reader of the Thrift compact protocol that keeps some numbers and passes over the rest.
//! It takes no header that the two could read in different ways.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use ::parquet::basic::Compression;
use flate2::bufread::MultiGzDecoder;

use super::stream::{MAX_RATIO, RATIO_AFTER_BYTES};

/// Bytes of one page, before and after decompression. Writers aim at 1 MiB; a page is larger only
/// where one value is.
const MAX_PAGE_BYTES: u64 = 256 << 20;
/// Bytes of a brotli page that are read at once.
const BROTLI_BUFFER: usize = 4096;
/// Structures inside structures in a page header; the format needs three.
const MAX_DEPTH: u32 = 8;

/// Types of the compact protocol: a truth value (either of two), a 32-bit number, a structure.
const BOOL: u8 = 1;
const I32: u8 = 5;
const STRUCT: u8 = 12;
/// Types of the fields of a page header, from field 1, and of the structures in it that say more
/// about pages of a kind. The crate reads a field by its number, whatever type the file gives it.
const PAGE: &[u8] = &[I32, I32, I32, I32, STRUCT, STRUCT, STRUCT, STRUCT];
const DATA_PAGE: &[u8] = &[I32, I32, I32, I32, STRUCT];
const DICTIONARY_PAGE: &[u8] = &[I32, I32, BOOL];
const DATA_PAGE_V2: &[u8] = &[I32, I32, I32, I32, I32, I32, BOOL, STRUCT];
/// The kind of a data page of version 2.
const IS_V2: i64 = 3;

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
/// [`BadPage`] for a header that is not one, a page that leaves the chunk, and pages that expand
/// beyond reason.
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

/// Checks that a page does not unpack to more than `header` says where its decoder would not
/// notice; `file` is at its data.
fn check_size(
    file: &mut impl BufRead,
    header: &PageHeader,
    codec: Compression,
) -> Result<(), String> {
    match codec {
        Compression::GZIP(_) | Compression::BROTLI(_)
            if header.packed && header.compressed > header.levels =>
        {
            let (levels, packed) = (header.levels, header.compressed - header.levels);
            let promised = header.uncompressed - levels;
            let unreadable = |error| format!("{codec}: {error} (hint: the file is damaged)");
            std::io::copy(&mut file.take(levels), &mut std::io::sink()).map_err(unreadable)?;
            let packed = file.take(packed);
            let page: Box<dyn Read> = match codec {
                Compression::GZIP(_) => Box::new(MultiGzDecoder::new(packed)),
                _ => Box::new(brotli_decompressor::Decompressor::new(
                    packed,
                    BROTLI_BUFFER,
                )),
            };
            let unpacked = std::io::copy(&mut page.take(promised + 1), &mut std::io::sink())
                .map_err(unreadable)?;
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
        let (mut id, mut page_kind, mut sizes) = (0, None, [None; 2]);
        let (mut levels, mut packed) = ([0; 2], true);
        while let Some(kind) = self.field(&mut id, PAGE)? {
            match id {
                1 => page_kind = Some(self.integer()?),
                2 | 3 => sizes[usize::from(id == 3)] = Some(self.size()?),
                5 | 7 => {
                    let fields = if id == 5 { DATA_PAGE } else { DICTIONARY_PAGE };
                    let mut id = 0;
                    while let Some(kind) = self.field(&mut id, fields)? {
                        self.skip(kind, 1)?;
                    }
                }
                8 => {
                    (levels, packed) = ([0; 2], true);
                    let mut id = 0;
                    while let Some(kind) = self.field(&mut id, DATA_PAGE_V2)? {
                        match id {
                            5 | 6 => levels[usize::from(id == 6)] = self.size()?,
                            7 => packed = kind == BOOL,
                            _ => self.skip(kind, 1)?,
                        }
                    }
                }
                _ => self.skip(kind, 0)?,
            }
        }
        // Of a page of another kind nobody asks what version 2 would say.
        if page_kind != Some(IS_V2) {
            (levels, packed) = ([0; 2], true);
        }
        let levels = levels[0] + levels[1];
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

    /// The type of the next field, whose number becomes `id`, where the fields from 1 have the
    /// types `known`; `None` at the end of the structure.
    fn field(&mut self, id: &mut i16, known: &[u8]) -> Result<Option<u8>, String> {
        let byte = self.byte()?;
        // What else is in the byte of the end is looked at by nobody.
        let kind = byte & 0x0f;
        if kind == 0 {
            return Ok(None);
        }
        let number = match byte >> 4 {
            0 => self.integer()?,
            step => i64::from(*id) + i64::from(step),
        };
        *id = i16::try_from(number).map_err(|_| format!("a field {number}"))?;
        let place = usize::try_from(*id).ok().and_then(|id| id.checked_sub(1));
        let expected = place.and_then(|place| known.get(place));
        // The second truth value is the first's type and one.
        let is_bool = expected == Some(&BOOL) && kind == BOOL + 1;
        match expected {
            Some(expected) if *expected != kind && !is_bool => {
                Err(format!("field {id} of type {kind}, expected {expected}"))
            }
            _ => Ok(Some(kind)),
        }
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
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id, &[])? {
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            // No page header has lists, sets or maps, and elements of some types may stand for
            // others.
            kind => Err(format!("a field of type {kind}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// Reads one header, behind which there is a page of `rest` bytes.
    fn read(header: &[u8], rest: usize) -> Result<(), String> {
        let file = [header, &vec![0; rest]].concat();
        let range = 0..file.len() as u64;
        let codec = Compression::UNCOMPRESSED;
        check_pages(Cursor::new(file), range, codec).map_err(|bad| bad.detail)
    }

    #[test]
    fn headers_that_could_be_read_in_two_ways_are_refused() {
        // Kind 0 in field 1, then 4 bytes in fields 2 and 3.
        let sound = [0x15, 0, 0x15, 8, 0x15, 8];
        let with = |more: &[u8]| read(&[&sound, more, &[0]].concat(), 4);
        assert_eq!(with(&[]), Ok(()));
        // The crate takes no byte for a truth value in a list, the format one; and a list of
        // nothing may have two thousand million elements.
        let error = with(&[0x69, 0xf1, 0xff, 0xff, 0xff, 0xff, 7]).unwrap_err();
        assert!(error.contains("type 9"), "{error}");
        // 65538 is 2 in sixteen bits.
        let error = with(&[0x05, 0x84, 0x80, 8, 9]).unwrap_err();
        assert!(error.contains("a field 65538"), "{error}");
        // Field 2 once more, as bytes.
        let error = with(&[0x08, 4, 1, 0]).unwrap_err();
        assert!(error.contains("field 2 of type 8"), "{error}");
    }

    #[test]
    fn only_a_page_of_version_2_has_levels_in_front() {
        // Field 8: two bytes of definition levels in its field 5, more than the page has.
        let header = |kind: u8| [0x15, kind, 0x15, 8, 0x15, 8, 0x5c, 0x55, 20, 0, 0];
        assert_eq!(read(&header(0), 4), Ok(()));
        let error = read(&header(6), 4).unwrap_err();
        assert!(error.contains("levels longer"), "{error}");
    }
}
