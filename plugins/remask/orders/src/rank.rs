//! Choosing positions of one row.

/// Sets `reveal` to 1 at the `n` eligible positions of largest key; equal keys go to the lower position, NaN last.
///
/// - `eligible`, `reveal`: `[t]`
/// - `key`: the order's statistic at a position
pub fn reveal_largest(eligible: &[u8], reveal: &mut [u8], n: usize, key: impl Fn(usize) -> f64) {
    if n == 0 {
        return;
    }
    let mut ranked: Vec<(f64, usize)> = eligible
        .iter()
        .enumerate()
        .filter(|&(_, &is)| is == 1)
        .map(|(position, _)| {
            let key = key(position);
            (
                // Adding 0 makes -0 and 0 equal keys.
                if key.is_nan() {
                    f64::NEG_INFINITY
                } else {
                    key + 0.0
                },
                position,
            )
        })
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    for &(_, position) in ranked.iter().take(n) {
        reveal[position] = 1;
    }
}

/// Number of positions that may be revealed.
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
            reveal_largest(&[1; 6], &mut reveal, n, |i| keys[i]);
            reveal
        };
        assert_eq!(pick(2), [1, 0, 0, 1, 0, 0]);
        assert_eq!(pick(4), [1, 0, 1, 1, 1, 0]);
        assert_eq!(pick(5), [1, 0, 1, 1, 1, 1]);
        assert_eq!(pick(9), [1; 6]);
    }
}
