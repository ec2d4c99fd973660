use serde::{Deserialize, Serialize};

use super::Moments;
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

/// A value with its standard error, and what it is formed from.
///
/// The standard error is that of the bootstrap: the units that were sampled (features, latents,
/// prompts, rows of text) are drawn with replacement, as many as there are, and the standard
/// deviation (n - 1) of the value over the draws is its error. A draw in which the value is
/// undefined is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// `None` where it is undefined, and where nothing has been computed.
    pub value: Option<f64>,
    /// `None` for fewer than two units, or fewer than two draws with a value.
    pub std_err: Option<f64>,
    /// How many units, tokens or transitions the value is formed from; `None` where nothing has
    /// been computed.
    pub n: Option<u64>,
}

impl Estimate {
    /// The mean of values, each of them a unit.
    pub fn of_mean(values: &[f64], bootstrap: Bootstrap) -> Estimate {
        let mean = |drawn: &[usize]| {
            let sum: f64 = drawn.iter().map(|&i| values[i]).sum();
            vec![(!drawn.is_empty()).then(|| sum / drawn.len() as f64)]
        };
        let found = bootstrap.estimates("bootstrap", values.len(), mean);
        Estimate {
            n: Some(values.len() as u64),
            ..found[0]
        }
    }

    /// The unweighted mean of independent estimates, such as those of the SAEs of a sweep over k.
    /// Those without a value are left out; the error is missing where one of the others has none.
    pub fn mean_of(estimates: &[Estimate]) -> Estimate {
        let present: Vec<(f64, Option<f64>)> = (estimates.iter())
            .filter_map(|e| Some((e.value?, e.std_err)))
            .collect();
        if present.is_empty() {
            return Estimate::default();
        }
        let n = present.len() as f64;
        let variance: Option<f64> = present.iter().map(|(_, e)| e.map(|e| e * e)).sum();
        Estimate {
            value: Some(present.iter().map(|(v, _)| v).sum::<f64>() / n),
            std_err: variance.map(|v| v.sqrt() / n),
            n: Some(present.len() as u64),
        }
    }

    /// `0.17 ± 0.03`; without an error the value alone, and nothing without a value.
    pub fn text(&self, digits: usize) -> Option<String> {
        let value = self.value?;
        Some(match self.std_err {
            Some(error) => format!("{value:.digits$} ± {error:.digits$}"),
            None => format!("{value:.digits$}"),
        })
    }
}

impl Bootstrap {
    /// Several statistics of the same `n_units` units, which all see the same draws. `statistics`
    /// is given the units that are drawn, a unit as often as it is drawn, and returns one value for
    /// each statistic. `stream` names the random numbers.
    pub(crate) fn estimates(
        self,
        stream: &str,
        n_units: usize,
        statistics: impl Fn(&[usize]) -> Vec<Option<f64>>,
    ) -> Vec<Estimate> {
        let mut drawn: Vec<usize> = (0..n_units).collect();
        let whole = statistics(&drawn);
        let mut moments = vec![Moments::default(); whole.len()];
        if n_units >= 2 {
            let stream = Stream::new(self.seed, stream);
            for resample in 0..u64::from(self.resamples) {
                let draws = stream.item(resample);
                for (i, unit) in drawn.iter_mut().enumerate() {
                    *unit = draws.below_at(i as u64, n_units as u64) as usize;
                }
                for (moments, value) in moments.iter_mut().zip(statistics(&drawn)) {
                    if let Some(value) = value.filter(|value| value.is_finite()) {
                        moments.push(value);
                    }
                }
            }
        }
        let estimate = |(value, moments): (Option<f64>, Moments)| Estimate {
            value,
            std_err: moments.std_dev(),
            n: None,
        };
        whole.into_iter().zip(moments).map(estimate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Estimate = Estimate {
        value: None,
        std_err: None,
        n: Some(0),
    };

    fn sample(n: u64) -> Vec<f64> {
        (0..n)
            .map(|i| Stream::new(5, "sample").normal_at(i))
            .collect()
    }

    #[test]
    fn agrees_with_the_formula_for_a_mean() {
        let values = sample(400);
        let got = Estimate::of_mean(
            &values,
            Bootstrap {
                resamples: 4000,
                seed: 1,
            },
        );
        // The bootstrap estimates the error with n in place of n - 1.
        let want = Moments::of(&values).std_err().unwrap() * (399.0f64 / 400.0).sqrt();
        // Relative error of a standard deviation from 4000 resamples is about 1.1 %; allow five of
        // these.
        let error = got.std_err.unwrap();
        assert!((error / want - 1.0).abs() < 0.056, "{error} {want}");
        let mean = Moments::of(&values).mean().unwrap();
        assert!((got.value.unwrap() - mean).abs() < 1e-12);
        assert_eq!(got.n, Some(400));
    }

    #[test]
    fn same_seed_same_numbers() {
        let values = sample(30);
        let run = |seed| {
            let resamples = 200;
            Estimate::of_mean(&values, Bootstrap { resamples, seed })
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    #[test]
    fn constant_values_have_no_error_and_one_value_has_none_at_all() {
        let of = |values: &[f64]| Estimate::of_mean(values, Bootstrap::default());
        assert_eq!(of(&[2.0; 8]).std_err, Some(0.0));
        assert_eq!((of(&[2.0]).value, of(&[2.0]).std_err), (Some(2.0), None));
        assert_eq!(of(&[]), NOTHING);
    }

    #[test]
    fn undefined_draws_are_left_out() {
        let clusters = [(0.0, 0.0), (6.0, 3.0), (2.0, 1.0)];
        let bootstrap = Bootstrap {
            resamples: 500,
            seed: 2,
        };
        let ratio = |drawn: &[usize]| {
            let (a, b) = (drawn.iter()).fold((0.0, 0.0), |(a, b), &i| {
                (a + clusters[i].0, b + clusters[i].1)
            });
            vec![(b > 0.0).then(|| a / b)]
        };
        let got = bootstrap.estimates("clusters", 3, ratio)[0];
        assert_eq!((got.value, got.std_err), (Some(2.0), Some(0.0)));
    }

    #[test]
    fn the_mean_over_k_adds_variances() {
        let e = |v, s| Estimate {
            value: Some(v),
            std_err: Some(s),
            n: Some(7),
        };
        let mean = Estimate::mean_of(&[e(1.0, 3.0), e(3.0, 4.0)]);
        assert_eq!(
            mean,
            Estimate {
                n: Some(2),
                ..e(2.0, 2.5)
            }
        );
        assert_eq!(mean.text(2).unwrap(), "2.00 ± 2.50");
        let of_one = Estimate::mean_of(&[e(1.0, 3.0), NOTHING]);
        assert_eq!((of_one.value, of_one.n), (Some(1.0), Some(1)));
        assert_eq!(Estimate::mean_of(&[NOTHING]).value, None);
        assert_eq!(NOTHING.text(2), None);
    }
}
