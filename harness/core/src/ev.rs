//! Explained variance of a reconstruction, from summed moments.

use serde::{Deserialize, Serialize};

use crate::dtype::Dtype;

/// Sums over tokens from which explained variance is formed at the end. Mergeable; all sums in f64.
///
/// Values are taken relative to a first token, so that a mean far from 0 does not cancel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvMoments {
    n: u64,
    /// Empty for 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    origin: Vec<f64>,
    sum_x: Vec<f64>,
    sum_x2: f64,
    sum_r: Vec<f64>,
    sum_r2: f64,
}

/// Explained variance and error of a reconstruction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ev {
    /// Tokens.
    pub n: u64,
    /// `1 - Σ|r - mean r|² / Σ|x - mean x|²` with `r = x - resid_hat` (Eq. 15).
    pub ev_var: f64,
    /// `1 - Σ|r|² / Σ|x - mean x|²`: an error of the mean counts.
    pub ev_mse: f64,
    /// Mean over tokens of `|r|²`, summed over d_model.
    pub mse: f64,
}

/// Shapes that do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len} values are not rows of d_model {d_model} on both sides ({len_hat} on the other)")]
pub struct EvShapeError {
    /// Values of x.
    pub len: usize,
    /// Values of its reconstruction.
    pub len_hat: usize,
    /// Width.
    pub d_model: usize,
}

impl EvMoments {
    /// No tokens yet, of width `d_model`.
    pub fn new(d_model: usize) -> EvMoments {
        let zeros = vec![0.0; d_model];
        EvMoments {
            n: 0,
            origin: Vec::new(),
            sum_x: zeros.clone(),
            sum_x2: 0.0,
            sum_r: zeros,
            sum_r2: 0.0,
        }
    }

    /// Moments from sums about 0 of `n` tokens: Σx and Σr `[d_model]`, Σ|x|² and Σ|r|².
    ///
    /// # Errors
    /// When the vectors differ in length.
    pub fn from_sums(
        n: u64,
        sum_x: Vec<f64>,
        sum_x2: f64,
        sum_r: Vec<f64>,
        sum_r2: f64,
    ) -> Result<EvMoments, EvShapeError> {
        if sum_x.len() != sum_r.len() {
            return Err(EvShapeError {
                len: sum_x.len(),
                len_hat: sum_r.len(),
                d_model: sum_x.len(),
            });
        }
        Ok(EvMoments {
            n,
            origin: Vec::new(),
            sum_x,
            sum_x2,
            sum_r,
            sum_r2,
        })
    }

    /// Add tokens.
    ///
    /// - `x`, `x_hat`: `[n, d_model] f32`, row-major
    ///
    /// # Errors
    /// When the lengths differ or are no multiple of `d_model`.
    pub fn update(&mut self, x: &[f32], x_hat: &[f32]) -> Result<(), EvShapeError> {
        let d_model = self.sum_x.len();
        check(x, x_hat, d_model)?;
        for (x, x_hat) in x.chunks_exact(d_model).zip(x_hat.chunks_exact(d_model)) {
            if self.n == 0 {
                self.origin = x.iter().map(|&v| f64::from(v)).collect();
            }
            self.n += 1;
            for j in 0..d_model {
                let r = f64::from(x[j]) - f64::from(x_hat[j]);
                let x = f64::from(x[j]) - self.origin.get(j).unwrap_or(&0.0);
                self.sum_x[j] += x;
                self.sum_x2 += x * x;
                self.sum_r[j] += r;
                self.sum_r2 += r * r;
            }
        }
        Ok(())
    }

    /// The sums of both sets of tokens, which have one width.
    pub fn merge(mut self, other: &EvMoments) -> EvMoments {
        if other.n == 0 {
            return self;
        }
        if self.n == 0 {
            return other.clone();
        }
        // Move the other sums to this origin: x - o1 = (x - o2) + (o2 - o1).
        let m = other.n as f64;
        for j in 0..self.sum_x.len() {
            let at = |m: &EvMoments| m.origin.get(j).copied().unwrap_or(0.0);
            let shift = at(other) - at(&self);
            self.sum_x2 += 2.0 * shift * other.sum_x[j] + m * shift * shift;
            self.sum_x[j] += other.sum_x[j] + m * shift;
            self.sum_r[j] += other.sum_r[j];
        }
        self.n += other.n;
        self.sum_x2 += other.sum_x2;
        self.sum_r2 += other.sum_r2;
        self
    }

    /// Number of tokens.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Explained variance; `None` without tokens, and when they vary by no more than the rounding
    /// of their format, see [`Dtype::rounding`].
    pub fn finish(&self, dtype: Dtype) -> Option<Ev> {
        let n = self.n as f64;
        let spread = self.sum_x2 - sum_of_squares(&self.sum_x) / n;
        // The squares are about 0, the sums about the first token.
        let at_origin: f64 = (self.origin.iter().zip(&self.sum_x))
            .map(|(o, x)| o * (2.0 * x + n * o))
            .sum();
        let squares = self.sum_x2 + at_origin;
        (self.n > 0 && spread > dtype.rounding() * squares).then(|| Ev {
            n: self.n,
            ev_var: 1.0 - (self.sum_r2 - sum_of_squares(&self.sum_r) / n) / spread,
            ev_mse: 1.0 - self.sum_r2 / spread,
            mse: self.sum_r2 / n,
        })
    }
}

fn check(x: &[f32], x_hat: &[f32], d_model: usize) -> Result<(), EvShapeError> {
    if d_model == 0 || x.len() != x_hat.len() || !x.len().is_multiple_of(d_model) {
        return Err(EvShapeError {
            len: x.len(),
            len_hat: x_hat.len(),
            d_model,
        });
    }
    Ok(())
}

fn sum_of_squares(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By hand: x = (0, 2, 4) has spread 8; y = (1, 3, 5) errs by its mean only.
    #[test]
    fn an_error_of_the_mean_tells_the_variants_apart() {
        let mut m = EvMoments::new(1);
        m.update(&[0.0, 2.0, 4.0], &[1.0, 3.0, 5.0]).unwrap();
        let ev = m.finish(Dtype::F32).unwrap();
        assert_eq!(
            (ev.n, ev.ev_var, ev.ev_mse, ev.mse),
            (3, 1.0, 1.0 - 3.0 / 8.0, 1.0)
        );
    }

    /// Tokens that differ by some units in the last place have no variance to explain, whatever
    /// their size and however the sums are formed; ten times the rounding is variance.
    #[test]
    fn rounding_is_no_variance() {
        let of = |size: f32, step: f32| {
            let x: Vec<f32> = (0..64)
                .map(|i| size * (1.0 + step * (i % 3) as f32))
                .collect();
            let hat = vec![0.9 * size; x.len()];
            let mut about_first = EvMoments::new(2);
            about_first.update(&x, &hat).unwrap();
            let part = |v: &dyn Fn(usize) -> f64, first: usize| -> f64 {
                (0..32).map(|i| v(2 * i + first)).sum()
            };
            let sum = |v: &dyn Fn(usize) -> f64| vec![part(v, 0), part(v, 1)];
            let (value, error) = (
                |i: usize| f64::from(x[i]),
                |i: usize| f64::from(x[i]) - f64::from(hat[i]),
            );
            let squares = |v: &dyn Fn(usize) -> f64| -> f64 { (0..64).map(|i| v(i) * v(i)).sum() };
            let about_0 = EvMoments::from_sums(
                32,
                sum(&value),
                squares(&value),
                sum(&error),
                squares(&error),
            )
            .unwrap();
            [about_first, about_0]
        };
        for size in [1e-3, 1.0, 1e4] {
            for moments in of(size, 3e-7) {
                assert_eq!(moments.finish(Dtype::F32), None, "{size}");
            }
            for moments in of(size, 1e-4) {
                assert!(moments.finish(Dtype::F32).is_some(), "{size}");
                assert_eq!(moments.finish(Dtype::Bf16), None, "{size}");
            }
            for moments in of(size, 0.3) {
                assert!(moments.finish(Dtype::Bf16).is_some(), "{size}");
            }
        }
    }

    #[test]
    fn undefined_cases_are_none() {
        assert!(EvMoments::new(4).finish(Dtype::F32).is_none());
        let mut same = EvMoments::new(1);
        same.update(&[3.0, 3.0], &[1.0, 2.0]).unwrap();
        assert!(same.finish(Dtype::F32).is_none());
        assert!(same.update(&[1.0], &[1.0, 2.0]).is_err());
    }

    /// Values around 1e4 with spread 1: sums about 0 would lose half the digits.
    #[test]
    fn a_large_mean_does_not_cancel() {
        let x: Vec<f32> = (0..1000).map(|i| 1e4 + (i % 7) as f32).collect();
        let mut m = EvMoments::new(1);
        m.update(&x, &x.iter().map(|v| v + 0.5).collect::<Vec<_>>())
            .unwrap();
        assert!((m.finish(Dtype::F32).unwrap().ev_var - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn pieces_equal_the_whole(values in prop::collection::vec((-9f32..9.0, -1f32..1.0), 6..60), cut in 0usize..10) {
            let d_model = 3;
            let n = values.len() / d_model * d_model;
            let x: Vec<f32> = values[..n].iter().map(|v| v.0).collect();
            let y: Vec<f32> = values[..n].iter().map(|v| v.0 + v.1).collect();
            let cut = (cut * d_model).min(n);
            let mut whole = EvMoments::new(d_model);
            whole.update(&x, &y).unwrap();
            let (mut a, mut b) = (EvMoments::new(d_model), EvMoments::new(d_model));
            a.update(&x[..cut], &y[..cut]).unwrap();
            b.update(&x[cut..], &y[cut..]).unwrap();
            let (whole, merged) = (whole.finish(Dtype::F32), a.merge(&b).finish(Dtype::F32));
            if let (Some(w), Some(m)) = (whole, merged) {
                // Relative to the spread, rounding of sums of 60 terms stays below 1e-9.
                prop_assert!((w.ev_var - m.ev_var).abs() < 1e-9 * (1.0 + w.ev_var.abs()));
                prop_assert!((w.ev_mse - m.ev_mse).abs() < 1e-9 * (1.0 + w.ev_mse.abs()));
                prop_assert!((w.mse - m.mse).abs() < 1e-9);
            }
        }
    }
}
