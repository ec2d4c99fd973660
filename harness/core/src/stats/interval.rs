use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::Moments;

/// Bounds of a confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Interval of a mean by Student's t at a confidence such as 0.95; `None` for fewer than two
/// values.
pub fn student_interval(moments: &Moments, confidence: f64) -> Option<Interval> {
    let (mean, std_err) = (moments.mean()?, moments.std_err()?);
    let t = StudentsT::new(0.0, 1.0, (moments.n() - 1) as f64).ok()?;
    Some(around(
        mean,
        std_err * t.inverse_cdf(upper_tail(confidence)?),
    ))
}

/// Wilson's score interval of a proportion: the `p` whose distance from `successes / trials` is at
/// most `z` of their own standard errors `sqrt(p (1 - p) / trials)`, with `z` the normal quantile
/// of the confidence (1.96 for 0.95). `None` for no trials, more successes than trials, or a
/// confidence outside (0, 1).
pub fn wilson_interval(successes: u64, trials: u64, confidence: f64) -> Option<Interval> {
    if trials == 0 || successes > trials {
        return None;
    }
    let (n, p, z) = (
        trials as f64,
        successes as f64 / trials as f64,
        z_value(confidence)?,
    );
    let scale = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / scale;
    let half = z / scale * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    // With no success centre and half are one number, and so are 1 - centre and half with nothing
    // but successes: the difference is 0 but for rounding.
    Some(Interval {
        low: match successes {
            0 => 0.0,
            _ => (centre - half).max(0.0),
        },
        high: match trials - successes {
            0 => 1.0,
            _ => (centre + half).min(1.0),
        },
    })
}

fn around(centre: f64, half: f64) -> Interval {
    Interval {
        low: centre - half,
        high: centre + half,
    }
}

fn z_value(confidence: f64) -> Option<f64> {
    Some(Normal::standard().inverse_cdf(upper_tail(confidence)?))
}

fn upper_tail(confidence: f64) -> Option<f64> {
    (confidence > 0.0 && confidence < 1.0).then_some(0.5 + confidence / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-6, "{got} is not {want}");
    }

    /// Tabulated quantiles: t(0.975, 4) = 2.776445, z(0.975) = 1.959964.
    #[test]
    fn tabulated_quantiles() {
        let m = Moments::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let i = student_interval(&m, 0.95).unwrap();
        close(i.high - 3.0, 2.776_445_105 * (2.5f64 / 5.0).sqrt());
        close(3.0 - i.low, i.high - 3.0);
        close(z_value(0.95).unwrap(), 1.959_963_985);
        assert!(z_value(1.0).is_none());
        assert!(student_interval(&Moments::of(&[1.0]), 0.95).is_none());
    }

    /// By hand with z = 1.959964, z^2 = 3.841459. 8 of 10: (0.8 + 3.841459/20) / 1.3841459 =
    /// 0.992073 / 1.3841459 = 0.716740, and 1.959964 * sqrt(0.8*0.2/10 + 3.841459/400) / 1.3841459
    /// = 1.959964 * 0.160011 / 1.3841459 = 0.226578, so 0.490162 to 0.943318. 0 of 20: 0 to z^2 /
    /// (20 + z^2) = 3.841459 / 23.841459 = 0.161125.
    #[test]
    fn wilson_by_hand() {
        let eight = wilson_interval(8, 10, 0.95).unwrap();
        close(eight.low, 0.490162);
        close(eight.high, 0.943318);
        close(wilson_interval(0, 20, 0.95).unwrap().high, 0.161125);
        assert_eq!(wilson_interval(1, 2, 1.0), None);
    }

    /// Published example: 15 of 148 at 95 % gives 0.0624 to 0.1605 (Newcombe 1998).
    #[test]
    fn wilson_known_value() {
        let i = wilson_interval(15, 148, 0.95).unwrap();
        assert!(
            (i.low - 0.0624).abs() < 5e-5 && (i.high - 0.1605).abs() < 5e-5,
            "{i:?}"
        );
        for n in 1..200 {
            assert_eq!(wilson_interval(0, n, 0.95).unwrap().low, 0.0);
            assert_eq!(wilson_interval(n, n, 0.95).unwrap().high, 1.0);
        }
        assert!(wilson_interval(0, 0, 0.95).is_none() && wilson_interval(3, 2, 0.95).is_none());
    }
}
