//! Decompressed parquet pages, checked before their values are decoded.
//!
//! The parquet crate makes room for as many values as a page says it holds. A page that lies about
//! it must be an error here and not an allocation that ends the process.

use ::parquet::basic::Encoding;
use ::parquet::column::page::{Page, PageMetadata, PageReader};
use ::parquet::errors::{ParquetError, Result};

/// Values of one page. Writers end a page at 1 MiB or at some 20 thousand values.
const MAX_PAGE_VALUES: u64 = 1 << 24;
/// Bytes a dictionary spends on each value at least: its length.
const DICTIONARY_VALUE_BYTES: u64 = 4;

/// The pages of a column of at most one value a row.
pub(super) struct CheckedPages<P> {
    inner: P,
    /// Rows of the row group.
    rows: u64,
    nullable: bool,
}

impl<P: PageReader> CheckedPages<P> {
    /// Checks the pages of `inner`, which fill a row group of `rows` rows.
    pub fn new(inner: P, rows: u64, nullable: bool) -> Self {
        Self {
            inner,
            rows,
            nullable,
        }
    }

    fn check(&self, page: &Page) -> Result<()> {
        let (values, buffer) = (u64::from(page.num_values()), page.buffer());
        if let Page::DictionaryPage { .. } = page {
            if values * DICTIONARY_VALUE_BYTES > buffer.len() as u64 {
                return Err(general(format!(
                    "a dictionary of {} bytes said to hold {values} values",
                    buffer.len()
                )));
            }
            return Ok(());
        }
        if values > self.rows.min(MAX_PAGE_VALUES) {
            return Err(general(format!(
                "a page of {values} values in a row group of {} rows, the limit is {MAX_PAGE_VALUES} a page",
                self.rows
            )));
        }
        let delta = matches!(
            page.encoding(),
            Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY
        );
        if delta {
            let lengths = self.levels(page).and_then(|levels| buffer.get(levels..));
            let lengths = check_count(lengths, values)?;
            if page.encoding() == Encoding::DELTA_BYTE_ARRAY {
                // Lengths of prefixes come first; those of what follows them have a count of their
                // own.
                check_count(lengths.rest(), values)?;
            }
        }
        Ok(())
    }

    /// Bytes of definition levels in front of the values.
    fn levels(&self, page: &Page) -> Option<usize> {
        match page {
            Page::DataPageV2 {
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => Some(*def_levels_byte_len as usize + *rep_levels_byte_len as usize),
            _ if self.nullable => {
                let length: [u8; 4] = page.buffer().get(..4)?.try_into().ok()?;
                (u32::from_le_bytes(length) as usize).checked_add(4)
            }
            _ => Some(0),
        }
    }
}

/// A delta-coded stream that holds no more than the values of its page.
fn check_count(stream: Option<&[u8]>, values: u64) -> Result<DeltaStream<'_>> {
    let stream = stream
        .and_then(DeltaStream::new)
        .ok_or_else(|| general("a delta-coded page without a count".into()))?;
    match stream.count <= values {
        true => Ok(stream),
        false => Err(general(format!(
            "a delta-coded page of {values} values said to hold {}",
            stream.count
        ))),
    }
}

fn general(message: String) -> ParquetError {
    ParquetError::General(message)
}

/// Numbers as differences, packed in blocks of miniblocks: what it begins with.
struct DeltaStream<'a> {
    miniblocks: u64,
    /// Numbers of a miniblock.
    size: u64,
    /// Numbers of the stream.
    count: u64,
    /// Its blocks, and what comes after it.
    blocks: &'a [u8],
}

impl<'a> DeltaStream<'a> {
    fn new(mut bytes: &'a [u8]) -> Option<Self> {
        let block = varint(&mut bytes)?;
        let miniblocks = varint(&mut bytes)?;
        let count = varint(&mut bytes)?;
        let _first = varint(&mut bytes)?;
        Some(Self {
            miniblocks,
            size: block.checked_div(miniblocks)?,
            count,
            blocks: bytes,
        })
    }

    /// What comes after it.
    fn rest(&self) -> Option<&'a [u8]> {
        // The first number is in front of the blocks.
        let (mut bytes, mut left) = (self.blocks, self.count.saturating_sub(1));
        while left > 0 {
            let _least = varint(&mut bytes)?;
            let miniblocks = usize::try_from(self.miniblocks).ok()?;
            let (widths, packed) = bytes.split_at_checked(miniblocks)?;
            let mut taken = 0u64;
            for width in widths {
                // Of miniblocks after the last number nothing is there, whatever their widths.
                if left == 0 {
                    break;
                }
                taken = taken.checked_add(u64::from(*width).checked_mul(self.size)? / 8)?;
                left = left.saturating_sub(self.size);
            }
            bytes = packed.get(usize::try_from(taken).ok()?..)?;
        }
        Some(bytes)
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

impl<P: PageReader> Iterator for CheckedPages<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<P: PageReader> PageReader for CheckedPages<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        if let Some(page) = &page {
            self.check(page)?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.inner.at_record_boundary()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` equal numbers of which the widths of unused miniblocks are `unused`, and eight bytes
    /// for those of the first.
    fn stream(count: &[u8], unused: u8) -> Vec<u8> {
        let head = [&[0x80, 1, 4], count, &[2]].concat();
        [&head[..], &[0, 2, unused, unused, unused], &[0; 8]].concat()
    }

    struct Pages(Option<Page>);

    impl Iterator for Pages {
        type Item = Result<Page>;

        fn next(&mut self) -> Option<Self::Item> {
            self.get_next_page().transpose()
        }
    }

    impl PageReader for Pages {
        fn get_next_page(&mut self) -> Result<Option<Page>> {
            Ok(self.0.take())
        }

        fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
            Ok(None)
        }

        fn skip_next_page(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn check(encoding: Encoding, buf: Vec<u8>) -> std::result::Result<(), String> {
        let page = Page::DataPage {
            buf: buf.into(),
            num_values: 3,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let mut pages = CheckedPages::new(Pages(Some(page)), 3, false);
        let checked = pages.get_next_page();
        checked.map(|_| ()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_end_of_a_stream_is_found() {
        let rest =
            |bytes: &[u8]| DeltaStream::new(bytes).and_then(|s| s.rest().map(<[u8]>::to_vec));
        let tail = b"tail".to_vec();
        assert_eq!(
            rest(&[&stream(&[3], 99)[..], &tail].concat()),
            Some(tail.clone())
        );
        // One number is in front of the blocks.
        assert_eq!(rest(&[0x80, 1, 4, 1, 2, b't']), Some(b"t".to_vec()));
        assert_eq!(rest(&stream(&[3], 0)[..16]), None);
    }

    #[test]
    fn both_counts_of_a_page_of_prefixes_are_looked_at() {
        let many = [0xff, 0xff, 0xff, 0xff, 7];
        let (sound, lie) = (stream(&[3], 0), stream(&many, 0));
        let (prefixes, lengths) = (
            Encoding::DELTA_BYTE_ARRAY,
            Encoding::DELTA_LENGTH_BYTE_ARRAY,
        );
        assert_eq!(check(prefixes, [&sound[..], &sound].concat()), Ok(()));
        for (encoding, page) in [
            (lengths, lie.clone()),
            (prefixes, [&lie[..], &sound].concat()),
            (prefixes, [&sound[..], &lie].concat()),
        ] {
            let error = check(encoding, page).unwrap_err();
            assert!(
                error.contains("3 values said to hold 2147483647"),
                "{error}"
            );
        }
    }
}
