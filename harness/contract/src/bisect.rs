//! How the one cell is found that fails all it is run together with: in halves.

/// The two parts in which things that failed together are tried again; none where there is nothing
/// to cut.
#[must_use]
pub fn halves<T>(all: &[T]) -> Option<(&[T], &[T])> {
    (all.len() > 1).then(|| all.split_at(all.len().div_ceil(2)))
}

/// Failures after which `n` cells that are run together are cut no further, so that trying ends
/// where all of them fail: enough to find one culprit anywhere, and another beside it.
#[must_use]
pub fn most_failures(n: usize) -> u32 {
    let depth = n.next_power_of_two().trailing_zeros();
    2 * (depth + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Failures until only culprits have failed, and what has failed by then.
    fn tried(n: usize, culprits: &[usize]) -> (u32, Vec<usize>) {
        let all: Vec<usize> = (0..n).collect();
        let (mut open, mut failures, mut failed) = (vec![all.as_slice()], 0, vec![]);
        while let Some(part) = open.pop() {
            if !part.iter().any(|i| culprits.contains(i)) {
                continue;
            }
            failures += 1;
            match halves(part) {
                Some((one, other)) if failures < most_failures(n) => open.extend([other, one]),
                _ => failed.extend_from_slice(part),
            }
        }
        (failures, failed)
    }

    #[test]
    fn one_or_two_culprits_are_found_wherever_they_are() {
        for n in 1..40 {
            for one in 0..n {
                assert_eq!(tried(n, &[one]).1, [one], "{one} of {n}");
                for other in one + 1..n {
                    assert_eq!(tried(n, &[one, other]).1, [one, other], "of {n}");
                }
            }
        }
    }

    #[test]
    fn trying_ends_where_all_fail() {
        let all: Vec<usize> = (0..1000).collect();
        let (failures, failed) = tried(1000, &all);
        assert_eq!(failed, all);
        assert!(failures <= most_failures(1000) + 11, "{failures}");
    }
}
