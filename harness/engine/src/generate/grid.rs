//! Rows of token ids of different lengths, left-padded to one width.

use std::collections::BTreeMap;

use tch::Tensor;

use super::GenerateError;

/// Token ids `[b, t]`, row-major, padded on the left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenGrid {
    b: usize,
    t: usize,
    tokens: Vec<i64>,
    pad: Vec<usize>,
}

impl TokenGrid {
    /// `rows` followed by `tail` further tokens `fill` each, the shorter rows behind `pad_id`.
    ///
    /// # Errors
    /// No rows, or a grid without positions.
    pub fn left_padded(
        rows: &[Vec<i64>],
        tail: usize,
        fill: i64,
        pad_id: i64,
    ) -> Result<Self, GenerateError> {
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let (b, t) = (rows.len(), longest + tail);
        if b == 0 || t == 0 {
            return Err(GenerateError::request(format!(
                "nothing to run: {b} rows of {t} tokens"
            )));
        }
        let mut tokens = Vec::with_capacity(b * t);
        for row in rows {
            tokens.extend(std::iter::repeat_n(pad_id, longest - row.len()));
            tokens.extend_from_slice(row);
            tokens.extend(std::iter::repeat_n(fill, tail));
        }
        let pad = rows.iter().map(|row| longest - row.len()).collect();
        Ok(Self { b, t, tokens, pad })
    }

    /// Rows.
    #[must_use]
    pub fn b(&self) -> usize {
        self.b
    }

    /// Positions of a row, padding included.
    #[must_use]
    pub fn t(&self) -> usize {
        self.t
    }

    /// All ids. `[b, t]`
    #[must_use]
    pub fn tokens(&self) -> &[i64] {
        &self.tokens
    }

    pub(super) fn tokens_mut(&mut self) -> &mut [i64] {
        &mut self.tokens
    }

    /// Leading positions of a row that are padding. `[b]`
    #[must_use]
    pub fn pad(&self) -> &[usize] {
        &self.pad
    }

    /// The real tokens of row `r`, empty where there is no such row.
    #[must_use]
    pub fn row(&self, r: usize) -> &[i64] {
        match self.pad.get(r) {
            Some(pad) => &self.tokens[r * self.t + pad..(r + 1) * self.t],
            None => &[],
        }
    }

    /// Whether flat index `i` is a real token.
    #[must_use]
    pub fn is_valid(&self, i: usize) -> bool {
        i % self.t >= self.pad[i / self.t]
    }

    /// Position of flat index `i` within its row, counted from the row's first real token.
    #[must_use]
    pub fn position(&self, i: usize) -> usize {
        (i % self.t).saturating_sub(self.pad[i / self.t])
    }

    /// `[b, t] i64` on the CPU.
    ///
    /// # Errors
    /// Allocation.
    pub fn tensor(&self) -> Result<Tensor, GenerateError> {
        Ok(Tensor::f_from_slice(&self.tokens)?.f_view([self.b as i64, self.t as i64])?)
    }

    /// `[b, t] u8` on the CPU, 1 at real tokens.
    ///
    /// # Errors
    /// Allocation.
    pub fn valid_tensor(&self) -> Result<Tensor, GenerateError> {
        self.flags(|i| self.is_valid(i))
    }

    /// `[b, t] u8` on the CPU, 1 where `flag` of the flat index holds.
    pub(super) fn flags(&self, flag: impl Fn(usize) -> bool) -> Result<Tensor, GenerateError> {
        let flags: Vec<u8> = (0..self.b * self.t).map(|i| u8::from(flag(i))).collect();
        Ok(Tensor::f_from_slice(&flags)?.f_view([self.b as i64, self.t as i64])?)
    }

    /// Drops columns from the right until `t` are left.
    pub(super) fn truncate(&mut self, t: usize) {
        if t >= self.t {
            return;
        }
        self.tokens = self
            .tokens
            .chunks(self.t)
            .flat_map(|row| row[..t].to_vec())
            .collect();
        self.t = t;
    }
}

/// Rows to run together: of equal length, so that none needs padding, and at most `max_rows` in a
/// batch.
///
/// A padded row gives the same tokens as long as no decision is closer than rounding; without
/// padding its arithmetic is the same in whatever company it runs.
///
/// - `lengths`: `[n]`
/// - returns indices into `lengths`, each once; the order depends on the lengths only
#[must_use]
pub fn plan_batches(lengths: &[usize], max_rows: usize) -> Vec<Vec<usize>> {
    let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, length) in lengths.iter().enumerate() {
        by_length.entry(*length).or_default().push(i);
    }
    by_length
        .into_values()
        .flat_map(|rows| {
            rows.chunks(max_rows.max(1))
                .map(<[usize]>::to_vec)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// `values: [n]` as a `[b, t]` tensor of floats.
pub(super) fn float_grid(values: &[f32], b: usize, t: usize) -> Result<Tensor, GenerateError> {
    Ok(Tensor::f_from_slice(values)?.f_view([b as i64, t as i64])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_tokens_behind_padding() {
        let mut grid = TokenGrid::left_padded(&[vec![5, 6, 7], vec![8]], 2, 9, 0).unwrap();
        assert_eq!(grid.tokens(), [5, 6, 7, 9, 9, 0, 0, 8, 9, 9]);
        assert_eq!(
            (grid.row(0), grid.row(1)),
            (&[5, 6, 7, 9, 9][..], &[8, 9, 9][..])
        );
        assert!(!grid.is_valid(6) && grid.is_valid(7));
        assert_eq!(
            (grid.position(2), grid.position(7), grid.position(9)),
            (2, 0, 2)
        );
        grid.truncate(4);
        assert_eq!(grid.tokens(), [5, 6, 7, 9, 0, 0, 8, 9]);
        assert!(TokenGrid::left_padded(&[], 3, 9, 0).is_err());
    }

    #[test]
    fn batches_hold_rows_of_one_length() {
        let plan = plan_batches(&[4, 3, 4, 4, 3], 2);
        assert_eq!(plan, [vec![1, 4], vec![0, 2], vec![3]]);
        assert!(plan_batches(&[], 4).is_empty());
    }
}
