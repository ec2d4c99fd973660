//! Choosing positions of one row.

use std::cmp::Ordering;

/// Sets `reveal` to 1 at the `n` eligible positions of largest key. Keys are compared element by
/// element, NaN below every number; equal keys go to the lower position.
///
/// - `eligible`, `reveal`: `[t]`
/// - `key`: the order's statistics at a position, the one that counts most first
pub fn reveal_largest<const N: usize>(
    eligible: &[u8],
    reveal: &mut [u8],
    n: usize,
    key: impl Fn(usize) -> [f64; N],
) {
    if n == 0 {
        return;
    }
    let mut ranked: Vec<([f64; N], usize)> = eligible
        .iter()
        .enumerate()
        .filter(|&(_, &is)| is == 1)
        .map(|(position, _)| (key(position).map(comparable), position))
        .collect();
    ranked.sort_by(|(a, at), (b, other)| {
        let by_key = b.iter().zip(a).map(|(b, a)| b.total_cmp(a));
        by_key
            .fold(Ordering::Equal, Ordering::then)
            .then(at.cmp(other))
    });
    for &(_, position) in ranked.iter().take(n) {
        reveal[position] = 1;
    }
}

/// The number as it is compared: adding 0 makes -0 and 0 equal.
fn comparable(key: f64) -> f64 {
    if key.is_nan() {
        f64::NEG_INFINITY
    } else {
        key + 0.0
    }
}

/// Number of positions that may be revealed.
#[must_use]
pub fn count(eligible: &[u8]) -> usize {
    eligible.iter().filter(|&&is| is == 1).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_go_to_the_lower_position_and_nan_last() {
        let keys = [0.5, f64::NAN, 0.5, 0.9, -0.0, 0.0];
        let pick = |n| {
            let mut reveal = [0; 6];
            reveal_largest(&[1; 6], &mut reveal, n, |i| [keys[i]]);
            reveal
        };
        assert_eq!(pick(2), [1, 0, 0, 1, 0, 0]);
        assert_eq!(pick(4), [1, 0, 1, 1, 1, 0]);
        assert_eq!(pick(5), [1, 0, 1, 1, 1, 1]);
        assert_eq!(pick(9), [1; 6]);
    }

    #[test]
    fn the_second_statistic_decides_between_equals_only() {
        let keys = [
            [f64::NAN, 9.0],
            [0.5, -1.0],
            [0.5, -0.5],
            [0.9, f64::NAN],
            [f64::NAN, 8.0],
        ];
        let pick = |n| {
            let mut reveal = [0; 5];
            reveal_largest(&[1; 5], &mut reveal, n, |i| keys[i]);
            reveal
        };
        assert_eq!(pick(1), [0, 0, 0, 1, 0]);
        assert_eq!(pick(2), [0, 0, 1, 1, 0]);
        assert_eq!(pick(4), [1, 1, 1, 1, 0]);
    }
}
