//! The `w` largest positive numbers of a row on a CPU, exact in the order of ties.
//!
//! Positive floats are ordered as their bits are, so a row is searched for a threshold that `w` or
//! a few more numbers reach: each try counts them in one pass, and the first try is what the row
//! before ended with, so two or three passes are usual. The numbers at or above it are collected
//! and sorted. When more numbers than that are equal at the border, the search ends on their value
//! and the lowest indices are taken.

use crate::{
    collect::collect,
    key::{FLUSH, Key},
    pool,
    simd::{Level, levels},
};

/// Rows of a task; the threshold is handed from row to row within one.
const BLOCK: usize = 32;
/// Bits every NaN gets in a row that has one: next above infinity, so that all are equal and
/// largest.
const NAN_BITS: u32 = 0x7f80_0001;
/// Bits sorted by in a pass.
const DIGIT: u32 = 9;

/// Where the selection of `n` rows goes: `[n, w]`, `[n, w]` and `[n]`.
pub(crate) struct Output<'a> {
    pub acts: &'a mut [f32],
    pub latents: &'a mut [i64],
    pub counts: &'a mut [i64],
}

/// Selects from every row of `values: [n, d]`; `w` is at least 1 and at most `d`.
pub(crate) fn select_rows<T: Key>(values: &[T], d: usize, w: usize, out: Output<'_>) {
    let level = Level::current();
    let tasks: Vec<_> = values
        .chunks(d * BLOCK)
        .zip(out.acts.chunks_mut(w * BLOCK))
        .zip(
            out.latents
                .chunks_mut(w * BLOCK)
                .zip(out.counts.chunks_mut(BLOCK)),
        )
        .collect();
    pool::run(
        tasks,
        values.len(),
        |((values, acts), (latents, counts))| {
            let mut search = Search::new(level, w);
            let rows = values.chunks_exact(d).zip(acts.chunks_exact_mut(w));
            for ((row, acts), (latents, count)) in rows.zip(latents.chunks_exact_mut(w).zip(counts))
            {
                *count = search.row(row, acts, latents) as i64;
            }
        },
    );
}

/// Scratch of a thread, and the threshold it tries first.
struct Search {
    level: Level,
    w: usize,
    guess: i32,
    found: Vec<u32>,
    /// `(largest key - key, index)`, sorted back and forth.
    order: [Vec<(u32, u32)>; 2],
    /// A row with its NaN made equal.
    plain: Vec<f32>,
}

/// A threshold: keys at or above `at` are selected; where `ties` is set those at `at` only up to
/// that many.
struct Threshold {
    at: i32,
    ties: Option<usize>,
}

impl Search {
    fn new(level: Level, w: usize) -> Self {
        Self {
            level,
            w,
            guess: 0,
            found: Vec::new(),
            order: [Vec::new(), Vec::new()],
            plain: Vec::new(),
        }
    }

    /// Number of active slots of a row; unused slots get act 0 and latent -1.
    fn row<T: Key>(&mut self, row: &[T], acts: &mut [f32], latents: &mut [i64]) -> usize {
        if has_nan(self.level, row) {
            let equal = |v: &T| {
                if v.is_nan() {
                    f32::from_bits(NAN_BITS)
                } else {
                    v.f32()
                }
            };
            let mut plain = std::mem::take(&mut self.plain);
            plain.clear();
            plain.extend(row.iter().map(equal));
            self.guess = 0; // of another width
            let count = self.numbers(&plain, acts, latents);
            self.guess = 0;
            self.plain = plain;
            return count;
        }
        self.numbers(row, acts, latents)
    }

    fn numbers<T: Key>(&mut self, row: &[T], acts: &mut [f32], latents: &mut [i64]) -> usize {
        let threshold = self.threshold(row);
        self.guess = threshold.at;
        self.found.clear();
        match threshold.ties {
            None => collect(self.level, row, threshold.at, &mut self.found),
            Some(ties) => {
                collect(self.level, row, threshold.at + 1, &mut self.found);
                let equal = (0u32..).zip(row).filter(|(_, v)| v.key() == threshold.at);
                self.found.extend(equal.take(ties).map(|(i, _)| i));
            }
        }
        self.sort(row);
        let sorted = &self.order[0];
        let used = sorted.len().min(self.w);
        for ((act, latent), &(_, index)) in acts.iter_mut().zip(latents.iter_mut()).zip(sorted) {
            *act = row[index as usize].f32();
            *latent = i64::from(index);
        }
        acts[used..].fill(0.0);
        latents[used..].fill(-1);
        used
    }

    /// A threshold that `w` to `w` and a quarter numbers reach, or exactly `w` with ties cut, or
    /// all positive ones.
    fn threshold<T: Key>(&self, row: &[T]) -> Threshold {
        let w = self.w;
        let enough = w + w / 4 + 16;
        let aim = (w + (enough - w) / 2) as f64;
        // More than enough numbers reach `low`, fewer than `w` reach `high`: `above` of them. None
        // is above NaN.
        let (mut low, mut high, mut above) = (0i32, T::TOP + 2, 0usize);
        let mut at = self.guess.clamp(1, high - 1);
        let mut tries = 0;
        loop {
            let count = count_reaching(self.level, row, at);
            if count >= w && count <= enough || count < w && at == 1 {
                return Threshold { at, ties: None };
            }
            if count < w {
                (high, above) = (at, count);
            } else {
                low = at;
            }
            if high - low <= 1 {
                // No threshold lies between: too many numbers are equal to `low`.
                return Threshold {
                    at: low,
                    ties: Some(w - above),
                };
            }
            // The tail of a bell curve loses a factor of some 50 an octave; halving the bracket is
            // the way out where numbers are spread otherwise.
            let octaves = (count.max(1) as f64 / aim).log2() / 5.5;
            let guess = (f64::from(at) + octaves * T::OCTAVE) as i32;
            at = if tries < 6 && guess > low && guess < high {
                guess
            } else {
                low + (high - low) / 2
            };
            tries += 1;
        }
    }

    /// Sorts the found indices into `order[0]`: larger key first, of equal ones the lower index.
    fn sort<T: Key>(&mut self, row: &[T]) {
        let top = self
            .found
            .iter()
            .map(|&i| row[i as usize].key())
            .max()
            .unwrap_or(0);
        let [from, to] = &mut self.order;
        from.clear();
        from.extend(
            self.found
                .iter()
                .map(|&i| ((top - row[i as usize].key()) as u32, i)),
        );
        let widest = from.iter().map(|&(k, _)| k).max().unwrap_or(0);
        if from.len() <= 96 {
            from.sort_unstable();
            return;
        }
        // Indices ascend within equal keys already, and every pass keeps the order of equals.
        to.clear();
        to.resize(from.len(), (0, 0));
        for shift in (0..u32::BITS - widest.leading_zeros()).step_by(DIGIT as usize) {
            let digit = |key: u32| (key >> shift) as usize & ((1 << DIGIT) - 1);
            let mut next = [0u32; 1 << DIGIT];
            for &(key, _) in from.iter() {
                next[digit(key)] += 1;
            }
            let mut sum = 0;
            for n in &mut next {
                sum += std::mem::replace(n, sum);
            }
            for &(key, index) in from.iter() {
                let slot = &mut next[digit(key)];
                to[*slot as usize] = (key, index);
                *slot += 1;
            }
            std::mem::swap(from, to);
        }
    }
}

levels! {
    fn count_reaching<T: Key>(row: &[T], threshold: i32) -> usize = count_body;
}

levels! {
    fn has_nan<T: Key>(row: &[T]) -> bool = nan_body;
}

#[inline(always)]
fn count_body<T: Key>(row: &[T], threshold: i32) -> usize {
    row.chunks(FLUSH)
        .map(|part| T::count(part, |v| v.reaches(threshold)))
        .sum()
}

#[inline(always)]
fn nan_body<T: Key>(row: &[T]) -> bool {
    row.chunks(FLUSH)
        .any(|part| T::count(part, |v| v.is_nan()) > 0)
}
