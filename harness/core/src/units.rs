//! Sums kept apart by resampling unit, so that a ratio of sums gets a bootstrap error without
//! keeping what was summed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::{Bootstrap, Estimate};

/// Named sums of each resampling unit. A unit is a set of rows of text; row r belongs to unit r mod
/// the number of units, so that with no more rows than units the bootstrap is one over rows. Memory
/// does not grow with the number of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitSums {
    columns: Vec<String>,
    units: Vec<Vec<f64>>,
}

/// Sums that do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitsError {
    #[error("sums of {left:?} cannot be added to sums of {right:?}")]
    Columns {
        /// Columns on one side.
        left: Vec<String>,
        /// Columns on the other.
        right: Vec<String>,
    },
    /// A unit with too few or too many sums.
    #[error("unit {unit} has {len} sums for {columns} columns")]
    Ragged {
        unit: usize,
        /// Its sums.
        len: usize,
        columns: usize,
    },
}

/// Totals by column.
#[derive(Clone, Debug)]
pub struct Totals<'a> {
    index: &'a BTreeMap<&'a str, usize>,
    values: &'a [f64],
}

impl Totals<'_> {
    /// The sum of a column; `None` when there is no such column.
    pub fn get(&self, column: &str) -> Option<f64> {
        self.index.get(column).map(|i| self.values[*i])
    }

    /// `numerator / denominator`; `None` when a column is missing or the denominator is 0.
    pub fn ratio(&self, numerator: &str, denominator: &str) -> Option<f64> {
        let below = self.get(denominator)?;
        (below != 0.0).then_some(self.get(numerator)? / below)
    }
}

impl UnitSums {
    /// No units yet.
    pub fn new(columns: Vec<String>) -> UnitSums {
        UnitSums {
            columns,
            units: Vec::new(),
        }
    }

    /// Names of the sums.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Number of units.
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether there is no unit.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Position of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c == name)
    }

    /// Sum over units of the column at position `column`.
    ///
    /// # Panics
    /// When `column` is not a position of [`UnitSums::columns`].
    pub fn total(&self, column: usize) -> f64 {
        self.units.iter().map(|unit| unit[column]).sum()
    }

    /// Add to the sum at position `column` of `unit`; units up to it come into being.
    ///
    /// # Panics
    /// When `column` is not a position of [`UnitSums::columns`].
    pub fn add(&mut self, unit: usize, column: usize, value: f64) {
        if self.units.len() <= unit {
            self.units.resize(unit + 1, vec![0.0; self.columns.len()]);
        }
        self.units[unit][column] += value;
    }

    /// The units of both: those of another shard resample by themselves.
    ///
    /// # Errors
    /// Other columns; units that are not as long as the columns (a damaged file).
    pub fn concat(mut self, other: &UnitSums) -> Result<UnitSums, UnitsError> {
        if self.columns != other.columns {
            return Err(UnitsError::Columns {
                left: self.columns,
                right: other.columns.clone(),
            });
        }
        self.units.extend_from_slice(&other.units);
        self.check()?;
        Ok(self)
    }

    /// Whether every unit has a sum for each column.
    ///
    /// # Errors
    /// The first that has not.
    pub fn check(&self) -> Result<(), UnitsError> {
        let columns = self.columns.len();
        match self.units.iter().position(|u| u.len() != columns) {
            None => Ok(()),
            Some(unit) => Err(UnitsError::Ragged {
                unit,
                len: self.units[unit].len(),
                columns,
            }),
        }
    }

    /// Statistics of the totals with their standard errors over resampled units. All statistics see
    /// the same resamples.
    ///
    /// `statistics` maps totals to one value for each statistic, `None` where it is undefined.
    ///
    /// # Errors
    /// As [`UnitSums::check`].
    pub fn bootstrap(
        &self,
        config: Bootstrap,
        statistics: impl Fn(&Totals<'_>) -> Vec<Option<f64>>,
    ) -> Result<Vec<Estimate>, UnitsError> {
        self.check()?;
        let names = self.columns.iter().map(String::as_str);
        let index: BTreeMap<&str, usize> = names.zip(0..).collect();
        Ok(config.estimates("units", self.units.len(), |drawn| {
            let mut values = vec![0.0; self.columns.len()];
            for &unit in drawn {
                for (total, value) in values.iter_mut().zip(&self.units[unit]) {
                    *total += value;
                }
            }
            statistics(&Totals {
                index: &index,
                values: &values,
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Bootstrap = Bootstrap {
        resamples: 4000,
        seed: 1,
    };

    fn sums(pairs: &[(f64, f64)]) -> UnitSums {
        let mut sums = UnitSums::new(vec!["sum".into(), "n".into()]);
        for (unit, (sum, n)) in pairs.iter().enumerate() {
            sums.add(unit, 0, *sum);
            sums.add(unit, 1, *n);
        }
        sums
    }

    fn mean(sums: &UnitSums) -> Estimate {
        sums.bootstrap(CONFIG, |t| vec![t.ratio("sum", "n")])
            .unwrap()[0]
    }

    /// The mean of five single values: its bootstrap error is their population deviation over √5.
    #[test]
    fn the_error_of_a_mean() {
        let got = mean(&sums(&[
            (1.0, 1.0),
            (2.0, 1.0),
            (3.0, 1.0),
            (4.0, 1.0),
            (5.0, 1.0),
        ]));
        assert_eq!(got.value, Some(3.0));
        let want = (2.0f64 / 5.0).sqrt();
        // 4000 resamples: relative error of a deviation about 1/√8000.
        assert!((got.std_err.unwrap() - want).abs() < 0.04 * want, "{got:?}");
    }

    #[test]
    fn a_ratio_is_of_sums_and_undefined_ones_are_none() {
        assert_eq!(mean(&sums(&[(1.0, 1.0), (9.0, 3.0)])).value, Some(2.5));
        assert_eq!(mean(&sums(&[(1.0, 0.0)])).value, None);
        assert_eq!(mean(&sums(&[(1.0, 2.0)])).std_err, None);
        let other = UnitSums::new(vec!["n".into()]);
        assert!(sums(&[(1.0, 1.0)]).concat(&other).is_err());
    }

    #[test]
    fn shards_add_up() {
        let both = sums(&[(1.0, 1.0), (3.0, 1.0)])
            .concat(&sums(&[(5.0, 1.0)]))
            .unwrap();
        assert_eq!((both.len(), mean(&both).value), (3, Some(3.0)));
    }
}
