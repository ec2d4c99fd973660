//! Rows side by side, padded on the right.

use super::pack::TokenRow;

/// Token ids of several rows, padded to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// Number of rows, b.
    pub rows: usize,
    /// Positions of the longest row, t.
    pub len: usize,
    /// `[b, t]` row-major; `pad_id` after a row's end.
    pub ids: Vec<i64>,
    /// `[b, t]`: 1 at valid positions, 0 at padding.
    pub attention_mask: Vec<i64>,
    /// `[b]`: each row's item, the key of its random numbers.
    pub items: Vec<u64>,
}

impl TokenBatch {
    pub fn collate(rows: &[TokenRow], pad_id: i64) -> Self {
        let len = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(rows.len() * len);
        let mut attention_mask = Vec::with_capacity(rows.len() * len);
        for row in rows {
            let padding = len - row.ids.len();
            ids.extend(
                row.ids
                    .iter()
                    .map(|id| i64::from(*id))
                    .chain(std::iter::repeat_n(pad_id, padding)),
            );
            attention_mask.extend(
                std::iter::repeat_n(1, row.ids.len()).chain(std::iter::repeat_n(0, padding)),
            );
        }
        Self {
            rows: rows.len(),
            len,
            ids,
            attention_mask,
            items: rows.iter().map(|row| row.item).collect(),
        }
    }

    /// Valid positions of the batch.
    pub fn n_valid(&self) -> usize {
        self.attention_mask
            .iter()
            .filter(|valid| **valid == 1)
            .count()
    }
}
