//! Running means and covariances of `K` values taken together.

use harness_sdk::{Error, Result, Value};
use serde_json::json;

/// Count, means and summed products of deviations of `K`-tuples.
///
/// Values are taken in one by one about the running mean, so that updates in pieces are
/// bit-identical to one update and nothing cancels; merging is commutative and associative up to
/// rounding.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments<const K: usize> {
    n: u64,
    mean: [f64; K],
    /// Sum over the tuples of (x_i - mean_i)(x_j - mean_j).
    products: [[f64; K]; K],
}

impl<const K: usize> Default for Moments<K> {
    fn default() -> Self {
        Self {
            n: 0,
            mean: [0.0; K],
            products: [[0.0; K]; K],
        }
    }
}

impl<const K: usize> Moments<K> {
    /// Takes in one tuple.
    pub fn push(&mut self, x: [f64; K]) {
        self.merge(&Self {
            n: 1,
            mean: x,
            products: [[0.0; K]; K],
        });
    }

    /// Takes in another set of tuples.
    pub fn merge(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            self.clone_from(other);
            return;
        }
        let (a, b) = (self.n as f64, other.n as f64);
        let n = a + b;
        let delta: [f64; K] = std::array::from_fn(|i| other.mean[i] - self.mean[i]);
        for i in 0..K {
            for j in 0..K {
                self.products[i][j] += other.products[i][j] + delta[i] * delta[j] * (a * b / n);
            }
        }
        for (mean, delta) in self.mean.iter_mut().zip(delta) {
            *mean += delta * (b / n);
        }
        self.n += other.n;
    }

    /// Number of tuples.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Means, where there is a tuple.
    #[must_use]
    pub fn mean(&self) -> Option<[f64; K]> {
        (self.n > 0).then_some(self.mean)
    }

    /// Sample covariance `uᵀ Σ v` of two linear combinations of the values, where there are two
    /// tuples.
    #[must_use]
    pub fn covariance(&self, u: [f64; K], v: [f64; K]) -> Option<f64> {
        if self.n < 2 {
            return None;
        }
        let sum: f64 = (self.products.iter().zip(u))
            .map(|(row, u)| row.iter().zip(v).map(|(p, v)| u * p * v).sum::<f64>())
            .sum();
        Some(sum / (self.n - 1) as f64)
    }

    /// As JSON.
    #[must_use]
    pub fn save(&self) -> Value {
        let products: Vec<&[f64]> = self.products.iter().map(<[f64; K]>::as_slice).collect();
        json!({"n": self.n, "mean": self.mean.as_slice(), "products": products})
    }

    /// From [`Moments::save`].
    ///
    /// # Errors
    /// Another shape.
    pub fn restore(state: &Value) -> Result<Self> {
        let wrong = || Error::invalid(format!("not a state of moments of {K} values: {state}"));
        let row = |value: &Value| -> Result<[f64; K]> {
            let values = value.as_array().ok_or_else(wrong)?;
            let values: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
            values
                .and_then(|values| values.try_into().ok())
                .ok_or_else(wrong)
        };
        let rows = state["products"].as_array().ok_or_else(wrong)?;
        let rows = rows.iter().map(row).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            n: state["n"].as_u64().ok_or_else(wrong)?,
            mean: row(&state["mean"])?,
            products: rows.try_into().map_err(|_| wrong())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_to_the_textbook_formulas() {
        let data = [[1.0, 4.0], [2.0, 3.0], [4.0, 9.0], [7.0, 1.0]];
        let mut moments = Moments::default();
        data.iter().for_each(|&x| moments.push(x));
        assert_eq!(moments.mean(), Some([3.5, 4.25]));
        let by_hand = data
            .iter()
            .map(|[a, b]| (a - 3.5) * (b - 4.25))
            .sum::<f64>()
            / 3.0;
        let got = moments.covariance([1.0, 0.0], [0.0, 1.0]).unwrap();
        assert!((got - by_hand).abs() < 1e-14);
        assert_eq!(Moments::restore(&moments.save()).unwrap(), moments);
    }

    #[test]
    fn one_tuple_has_a_mean_and_no_covariance() {
        let mut moments = Moments::<1>::default();
        assert_eq!(moments.mean(), None);
        moments.push([3.0]);
        assert_eq!(moments.mean(), Some([3.0]));
        assert_eq!(moments.covariance([1.0], [1.0]), None);
    }

    #[test]
    fn a_state_of_another_shape_is_refused() {
        assert!(Moments::<2>::restore(&Moments::<3>::default().save()).is_err());
        assert!(Moments::<2>::restore(&json!({"n": 1})).is_err());
        assert!(Moments::<1>::restore(&json!(null)).is_err());
    }
}
