//! The forward process of masked diffusion (Eq. 5, 6): each token is masked with probability t.

use crate::rng::Stream;

/// The mask rate of a row and which of its tokens are masked.
#[derive(Clone, Debug, PartialEq)]
pub struct RowMask {
    /// t, the probability with which each token was masked.
    pub rate: f64,
    /// `[t]`: masked tokens. The first is never masked.
    pub is_masked: Vec<bool>,
}

/// Masks of a row: t ~ U[t_min, t_max], then one draw a token. They depend on the seed, the row's
/// place in its stream and the position alone.
///
/// - `row`: the row's place in its stream
/// - `may_mask`: `[t]`, tokens that may be masked; the first never is
pub fn mask_row(seed: u64, row: u64, t_min: f64, t_max: f64, may_mask: &[bool]) -> RowMask {
    let draws = Stream::new(seed, "fidelity").item(row);
    let rate = t_min + (t_max - t_min) * draws.label("rate").uniform_at(0);
    let may = |i: usize| may_mask[i];
    RowMask {
        rate,
        is_masked: masked(draws, rate, may_mask.len(), may),
    }
}

/// `[len]`: masked tokens of a row in which each but the first is masked with probability `rate`.
/// They depend on the seed, the row's place in its stream and the position alone.
pub fn mask_row_at(seed: u64, row: u64, rate: f64, len: usize) -> Vec<bool> {
    masked(Stream::new(seed, "windows").item(row), rate, len, |_| true)
}

fn masked(row: Stream, rate: f64, len: usize, may_mask: impl Fn(usize) -> bool) -> Vec<bool> {
    let masks = row.label("mask");
    (0..len)
        .map(|i| i > 0 && may_mask(i) && masks.uniform_at(i as u64) < rate)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_follow_the_rate_and_spare_what_they_must() {
        let may: Vec<bool> = (0..4000).map(|i| i >= 1000).collect();
        let (mut rates, mut masked) = (0.0, 0.0);
        for row in 0..50 {
            let mask = mask_row(3, row, 0.05, 0.5, &may);
            assert!((0.05..=0.5).contains(&mask.rate));
            assert!(mask.is_masked[..1000].iter().all(|m| !m));
            let share = mask.is_masked.iter().filter(|m| **m).count() as f64 / 3000.0;
            // Five standard deviations of a share of 3000 draws are below 0.046.
            assert!((share - mask.rate).abs() < 0.046, "{share} {}", mask.rate);
            rates += mask.rate / 50.0;
            masked += share / 50.0;
        }
        assert!((rates - 0.275).abs() < 0.1 && (masked - rates).abs() < 0.01);
        let all = [true; 8];
        assert!((0..200).all(|row| !mask_row(3, row, 0.9, 0.9, &all).is_masked[0]));
    }

    #[test]
    fn a_longer_row_has_the_same_masks_in_front() {
        let (short, long) = ([true; 10], [true; 90]);
        let a = mask_row(1, 7, 0.2, 0.4, &short);
        let b = mask_row(1, 7, 0.2, 0.4, &long);
        assert_eq!((a.rate, &a.is_masked[..]), (b.rate, &b.is_masked[..10]));
        assert_ne!(a, mask_row(2, 7, 0.2, 0.4, &short));

        let long = mask_row_at(1, 7, 0.3, 4000);
        assert_eq!(mask_row_at(1, 7, 0.3, 10), long[..10]);
        assert_ne!(mask_row_at(1, 8, 0.3, 4000), long);
        let share = long.iter().filter(|m| **m).count() as f64 / 4000.0;
        // Five standard deviations of a share of 4000 draws are below 0.04.
        assert!((share - 0.3).abs() < 0.04, "{share}");
        assert!((0..200).all(|row| !mask_row_at(1, row, 0.9, 2)[0]));
    }
}
