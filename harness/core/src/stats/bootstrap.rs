use super::{Interval, Moments};
use crate::rng::Stream;

/// How often and with which seed a sample is drawn again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    pub resamples: u32,
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Bootstrap {
            resamples: 2000,
            seed: 0,
        }
    }
}

/// What resampling says about a statistic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resampled {
    /// Standard deviation of the statistic over the resamples.
    pub std_err: f64,
    /// Percentile interval at 95 %.
    pub interval: Interval,
}

/// Bootstrap of a statistic over clusters, the units that were sampled (features, prompts): whole
/// clusters are drawn with replacement, and `statistic` sees the indices drawn (repeats included)
/// and may return `None` where it is undefined.
///
/// Returns `None` for fewer than two clusters, or when fewer than two resamples gave a value.
pub fn cluster_bootstrap(
    n_clusters: usize,
    config: Bootstrap,
    statistic: impl Fn(&[usize]) -> Option<f64>,
) -> Option<Resampled> {
    if n_clusters < 2 {
        return None;
    }
    let stream = Stream::new(config.seed, "bootstrap");
    let mut drawn = vec![0usize; n_clusters];
    let mut values: Vec<f64> = Vec::with_capacity(config.resamples as usize);
    for resample in 0..u64::from(config.resamples) {
        let draws = stream.item(resample);
        for (i, slot) in drawn.iter_mut().enumerate() {
            *slot = draws.below_at(i as u64, n_clusters as u64) as usize;
        }
        values.extend(statistic(&drawn).filter(|v| v.is_finite()));
    }
    let std_err = Moments::of(&values).std_dev()?;
    values.sort_unstable_by(f64::total_cmp);
    Some(Resampled {
        std_err,
        interval: Interval {
            low: quantile(&values, 0.025),
            high: quantile(&values, 0.975),
        },
    })
}

/// Bootstrap of a mean over its values.
pub fn mean_bootstrap(values: &[f64], config: Bootstrap) -> Option<Resampled> {
    cluster_bootstrap(values.len(), config, |drawn| {
        Some(drawn.iter().map(|&i| values[i]).sum::<f64>() / drawn.len() as f64)
    })
}

/// Linear interpolation between order statistics. `sorted` is not empty.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(n: u64) -> Vec<f64> {
        (0..n)
            .map(|i| Stream::new(5, "sample").normal_at(i))
            .collect()
    }

    #[test]
    fn agrees_with_the_formula_for_a_mean() {
        let values = sample(400);
        let got = mean_bootstrap(
            &values,
            Bootstrap {
                resamples: 4000,
                seed: 1,
            },
        )
        .unwrap();
        // The bootstrap estimates the error with n in place of n - 1.
        let want = Moments::of(&values).std_err().unwrap() * (399.0f64 / 400.0).sqrt();
        // Relative error of a standard deviation from 4000 resamples is about 1.1 %; allow five of
        // these.
        assert!(
            (got.std_err / want - 1.0).abs() < 0.056,
            "{} {want}",
            got.std_err
        );
        let mean = Moments::of(&values).mean().unwrap();
        assert!(got.interval.contains(mean));
    }

    #[test]
    fn same_seed_same_numbers() {
        let values = sample(30);
        let run = |seed| {
            mean_bootstrap(
                &values,
                Bootstrap {
                    resamples: 200,
                    seed,
                },
            )
            .unwrap()
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    #[test]
    fn constant_values_have_no_error_and_one_value_has_none_at_all() {
        let got = mean_bootstrap(&[2.0; 8], Bootstrap::default()).unwrap();
        assert_eq!(
            (got.std_err, got.interval),
            (
                0.0,
                Interval {
                    low: 2.0,
                    high: 2.0
                }
            )
        );
        assert!(mean_bootstrap(&[2.0], Bootstrap::default()).is_none());
    }

    #[test]
    fn clusters_are_drawn_whole() {
        // A ratio of sums over clusters of unequal size: undefined draws are left out, not counted
        // as 0.
        let clusters = [(0.0, 0.0), (6.0, 3.0), (2.0, 1.0)];
        let got = cluster_bootstrap(
            3,
            Bootstrap {
                resamples: 500,
                seed: 2,
            },
            |drawn| {
                let (a, b) = drawn.iter().fold((0.0, 0.0), |(a, b), &i| {
                    (a + clusters[i].0, b + clusters[i].1)
                });
                (b > 0.0).then(|| a / b)
            },
        )
        .unwrap();
        assert_eq!(
            (got.std_err, got.interval.low, got.interval.high),
            (0.0, 2.0, 2.0)
        );
    }
}
