//! How often answers are right, and whether one way to answer beats another on the same questions.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::stats::wilson_interval;

/// Confidence of the intervals of accuracies and of their differences.
pub const LEVEL: f64 = 0.95;

/// Two ways to answer, a and b, on the same questions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Questions.
    pub n: u64,
    /// Accuracy of b minus that of a.
    pub difference: f64,
    /// Lower end of its 95 % interval.
    pub lo: f64,
    /// Upper end of its 95 % interval.
    pub hi: f64,
    /// Two-sided p-value of the exact McNemar test that a and b are right equally often.
    pub p_value: f64,
}

/// Compares two ways to answer by the numbers of questions that both, only a, only b and neither
/// answered rightly.
///
/// The p-value is the exact McNemar test's: given the `m = only_a + only_b` questions on which they
/// differ, `only_b` is binomial with `m` trials and probability 1/2, and `p = min(1, 2 P(X <=
/// min(only_a, only_b)))`; 1 when they never differ.
///
/// The interval is Newcombe's score interval for paired proportions (1998, Statistics in Medicine
/// 17, 2635-2650, method 10). With Wilson's intervals `(l_a, u_a)` and `(l_b, u_b)` of the two
/// accuracies `p_a` and `p_b`, and `d = p_b - p_a`,
/// ```text
/// lo = d - sqrt((p_b - l_b)^2 - 2 phi (p_b - l_b) (u_a - p_a) + (u_a - p_a)^2)
/// hi = d + sqrt((u_b - p_b)^2 - 2 phi (u_b - p_b) (p_a - l_a) + (p_a - l_a)^2)
/// ```
/// where `phi` is the correlation of the fourfold table, `(both * neither - only_a * only_b) /
/// sqrt(product of the four margins)`, of which a positive numerator is brought towards 0 by `n /
/// 2`, at most to 0. `phi` is 0 where a margin is.
///
/// `None` without questions, and when their number does not fit into 64 bits.
pub fn paired(both: u64, only_a: u64, only_b: u64, neither: u64) -> Option<Paired> {
    let n = [both, only_a, only_b, neither]
        .into_iter()
        .try_fold(0u64, u64::checked_add)?;
    let (right_a, right_b) = (both + only_a, both + only_b);
    let a = wilson_interval(right_a, n, LEVEL)?;
    let b = wilson_interval(right_b, n, LEVEL)?;
    let (p_a, p_b) = (right_a as f64 / n as f64, right_b as f64 / n as f64);
    let difference = (only_b as f64 - only_a as f64) / n as f64;
    let phi = correlation(both, only_a, only_b, neither);
    let distance = |x: f64, y: f64| (x * x - 2.0 * phi * x * y + y * y).max(0.0).sqrt();
    Some(Paired {
        n,
        difference,
        lo: (difference - distance(p_b - b.low, a.high - p_a)).max(-1.0),
        hi: (difference + distance(b.high - p_b, p_a - a.low)).min(1.0),
        p_value: mcnemar(only_a, only_b)?,
    })
}

/// The correlation of a fourfold table, less a correction for continuity.
fn correlation(both: u64, only_a: u64, only_b: u64, neither: u64) -> f64 {
    let [both, only_a, only_b, neither] = [both, only_a, only_b, neither].map(|count| count as f64);
    let margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither);
    if margins == 0.0 {
        return 0.0;
    }
    let excess = both * neither - only_a * only_b;
    let corrected = if excess > 0.0 {
        (excess - (both + only_a + only_b + neither) / 2.0).max(0.0)
    } else {
        excess
    };
    corrected / margins.sqrt()
}

fn mcnemar(only_a: u64, only_b: u64) -> Option<f64> {
    // As near to each other as their sum allows: half of all outcomes or more lie on either side,
    // and p is 1, which the distribution function gives but for rounding.
    if only_a.abs_diff(only_b) <= 1 {
        return Some(1.0);
    }
    // Their sum is at most the number of questions, which fits.
    let differ = Binomial::new(0.5, only_a + only_b).ok()?;
    Some((2.0 * differ.cdf(only_a.min(only_b))).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use proptest::prelude::*;

    fn close(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() <= tolerance, "{got} is not {want}");
    }

    /// `both, only_a, only_b, neither` = 1, 7, 1, 12 of 21, by hand with z = 1.959964: p_a = 8/21 =
    /// 0.380952 in (0.207510, 0.591213), p_b = 2/21 = 0.095238 in (0.026519, 0.289141); both *
    /// neither - only_a * only_b = 12 - 7 = 5, less 21/2 is below 0, so phi = 0; lo = -0.285714 -
    /// sqrt(0.068719^2 + 0.210261^2) = -0.285714 - 0.221206 = -0.506920, hi = -0.285714 +
    /// sqrt(0.193903^2 + 0.173442^2) = -0.285714 + 0.260155 = -0.025559. p = 2 (1 + 8) / 2^8 =
    /// 0.0703125.
    #[test]
    fn paired_by_hand() {
        let got = paired(1, 7, 1, 12).unwrap();
        assert_eq!(got.n, 21);
        close(got.difference, -6.0 / 21.0, 1e-15);
        close(got.lo, -0.506920, 1e-6);
        close(got.hi, -0.025559, 1e-6);
        close(got.p_value, 0.0703125, 1e-12);
    }

    /// 40, 10, 20, 30 of 100, where phi is not 0: p_a = 0.5 in (0.403832, 0.596168), p_b = 0.6 in
    /// (0.502003, 0.690599); phi = (1200 - 200 - 50) / sqrt(50 * 50 * 60 * 40) = 950 / 2449.490 =
    /// 0.387836; lo = 0.1 - sqrt(0.097997^2 - 2 phi 0.097997 * 0.096168 + 0.096168^2) = 0.1 -
    /// 0.107432 = -0.007432, hi = 0.1 + sqrt(0.090599^2 - 2 phi 0.090599 * 0.096168 + 0.096168^2) =
    /// 0.1 + 0.103432 = 0.203432.
    #[test]
    fn paired_with_correlation_by_hand() {
        let got = paired(40, 10, 20, 30).unwrap();
        close(got.lo, -0.007432, 1e-6);
        close(got.hi, 0.203432, 1e-6);
        // P(X <= 10) of 30 fair coins is 0.0493685734.
        close(got.p_value, 2.0 * 0.0493685734, 1e-9);
    }

    #[test]
    fn no_difference_is_no_evidence() {
        for (both, neither) in [(5, 3), (0, 9), (9, 0)] {
            let got = paired(both, 0, 0, neither).unwrap();
            assert_eq!((got.difference, got.p_value), (0.0, 1.0));
            assert!(got.lo <= 0.0 && got.hi >= 0.0, "{got:?}");
        }
        for k in 0..40 {
            for (only_a, only_b) in [(k, k), (k, k + 1), (k + 1, k)] {
                assert_eq!(paired(1, only_a, only_b, 1).unwrap().p_value, 1.0);
            }
        }
        assert_eq!(paired(0, 0, 0, 0), None);
        assert_eq!(paired(u64::MAX, 1, 0, 0), None);
    }

    /// The share of 4,000 simulated comparisons whose interval holds the true difference. Its
    /// standard error is 0.0034 at 0.95; the method's own coverage is a little off 0.95, so 0.015
    /// are allowed.
    #[test]
    fn intervals_cover_the_truth() {
        let stream = Stream::new(7, "coverage");
        for (case, cells) in [
            [0.5, 0.1, 0.2, 0.2],
            [0.05, 0.02, 0.13, 0.8],
            [0.3, 0.2, 0.2, 0.3],
        ]
        .into_iter()
        .enumerate()
        {
            let truth: f64 = cells[2] - cells[1];
            let (runs, n) = (4000u64, 100u64);
            let (mut covered, mut rejected) = (0u64, 0u64);
            for run in 0..runs {
                let draws = stream.item(case as u64).item(run);
                let mut counts = [0u64; 4];
                for question in 0..n {
                    let mut u = draws.uniform_at(question);
                    let cell = cells.iter().position(|p| {
                        u -= p;
                        u < 0.0
                    });
                    counts[cell.unwrap_or(3)] += 1;
                }
                let got = paired(counts[0], counts[1], counts[2], counts[3]).unwrap();
                covered += u64::from(got.lo <= truth && truth <= got.hi);
                rejected += u64::from(got.p_value < 0.05);
            }
            close(covered as f64 / runs as f64, 0.95, 0.015);
            // The exact test keeps its level where there is no difference.
            if truth == 0.0 {
                assert!(rejected as f64 / runs as f64 <= 0.05 + 3.0 * 0.0034);
            }
        }
    }

    proptest! {
        #[test]
        fn swapping_turns_the_sign(both in 0u64..500, only_a in 0u64..60, only_b in 0u64..60, neither in 1u64..500) {
            let got = paired(both, only_a, only_b, neither).unwrap();
            let swapped = paired(both, only_b, only_a, neither).unwrap();
            // What is right in one way of counting is wrong in the other.
            let wrong = paired(neither, only_a, only_b, both).unwrap();
            for (x, y) in [
                (got.difference, -swapped.difference),
                (got.lo, -swapped.hi),
                (got.hi, -swapped.lo),
                (got.lo, wrong.lo),
                (got.hi, wrong.hi),
                (got.p_value, swapped.p_value),
            ] {
                // Sums in another order differ by some units in the last place.
                prop_assert!((x - y).abs() < 1e-12, "{:?} {:?} {:?}", got, swapped, wrong);
            }
            prop_assert!(-1.0 <= got.lo && got.lo <= got.difference && got.difference <= got.hi && got.hi <= 1.0);
            prop_assert!((0.0..=1.0).contains(&got.p_value));
        }

        /// The binomial tail summed term by term.
        #[test]
        fn mcnemar_equals_its_sum(only_a in 0u64..40, only_b in 0u64..40) {
            let m = only_a + only_b;
            let mut term = 0.5f64.powi(m as i32);
            let mut tail = 0.0;
            for k in 0..=only_a.min(only_b) {
                tail += term;
                term *= (m - k) as f64 / (k + 1) as f64;
            }
            let want = (2.0 * tail).min(1.0);
            // The distribution function goes through the incomplete beta function.
            prop_assert!((mcnemar(only_a, only_b).unwrap() - want).abs() < 1e-10);
        }
    }
}
