//! Decompressed parquet pages, checked before their values are decoded.
//!
//! The parquet crate makes room for as many values as a page says it holds. A page that lies about it must be an error
//! here and not an allocation that ends the process.

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
            let stated = self
                .levels(page)
                .and_then(|levels| delta_count(buffer.get(levels..)?))
                .ok_or_else(|| general("a delta-coded page without a count".into()))?;
            if stated > values {
                return Err(general(format!(
                    "a delta-coded page of {values} values said to hold {stated}"
                )));
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

fn general(message: String) -> ParquetError {
    ParquetError::General(message)
}

/// The number of values of a delta-coded stream: the third of the numbers it begins with.
fn delta_count(bytes: &[u8]) -> Option<u64> {
    let mut bytes = bytes.iter();
    let mut number = || {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = bytes.next()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    let (_block, _miniblocks) = (number()?, number()?);
    number()
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
