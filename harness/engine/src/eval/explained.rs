//! Explained variance of many SAEs over a stream of batches: sums by resampling unit, in f64.

use std::collections::BTreeMap;

use harness_core::{
    dtype::Dtype,
    ev::EvMoments,
    fidelity::{EV_COLUMNS, EV_ROBUST_COLUMNS, EV_TOKEN_COLUMNS, MASSIVE, UNITS},
    units::UnitSums,
};
use harness_kernels::{centred_moments, residual_moments};
use tch::{Kind, Tensor};

use super::{Batch, EvalError, Scope, Watch};

/// A row's unit by its place in the shard, so that batches do not matter.
pub fn unit_of(ordinal: u64) -> usize {
    (ordinal % UNITS as u64) as usize
}

/// Sums over tokens of one side (all, or without massive activations) of x or of r, by unit.
#[derive(Clone)]
struct Side {
    n: Vec<f64>,
    squares: Vec<f64>,
    /// `[UNITS][d_model]`.
    sums: Vec<Vec<f64>>,
}

impl Side {
    fn new(d_model: usize) -> Self {
        Self {
            n: vec![0.0; UNITS],
            squares: vec![0.0; UNITS],
            sums: vec![vec![0.0; d_model]; UNITS],
        }
    }

    fn add(&mut self, unit: usize, n: usize, squares: f64, sums: &[f64]) {
        self.n[unit] += n as f64;
        self.squares[unit] += squares;
        for (sum, value) in self.sums[unit].iter_mut().zip(sums) {
            *sum += value;
        }
    }

    fn total(&self) -> (f64, f64, Vec<f64>) {
        let mut sums = vec![0.0; self.sums.first().map_or(0, Vec::len)];
        for unit in &self.sums {
            for (sum, value) in sums.iter_mut().zip(unit) {
                *sum += value;
            }
        }
        (self.n.iter().sum(), self.squares.iter().sum(), sums)
    }

    /// Σ|v - mean|² of each unit about the mean of all.
    fn about_mean(&self) -> Vec<f64> {
        let (n, _, sums) = self.total();
        let mean: Vec<f64> = sums.iter().map(|s| s / n.max(1.0)).collect();
        let norm: f64 = mean.iter().map(|m| m * m).sum();
        (0..UNITS)
            .map(|u| {
                let cross: f64 = self.sums[u].iter().zip(&mean).map(|(s, m)| s * m).sum();
                self.squares[u] - 2.0 * cross + self.n[u] * norm
            })
            .collect()
    }
}

/// The residuals of one layer at the tokens of one policy.
struct Clean {
    all: Side,
    robust: Side,
}

/// The errors of one SAE at the tokens of its policy.
struct Errors {
    all: Side,
    robust: Side,
    token_n: Vec<f64>,
    token_sum: Vec<f64>,
}

/// A row's tokens of one policy in the batch under way.
struct RowPart {
    unit: usize,
    /// Where its tokens lie among those of the policy.
    start: usize,
    len: usize,
    /// Tokens that are no massive activations.
    keep: Vec<bool>,
    /// |x - m|² with m the mean of the row's tokens of the policy.
    about_row_mean: Vec<f64>,
    /// |x|².
    squares: Vec<f64>,
}

/// The batch under way at one layer for one policy.
struct Part {
    /// Among the real rows: `[n] i64`.
    index: Tensor,
    /// `[n, d_model]`.
    x: Tensor,
    dtype: Dtype,
    rows: Vec<RowPart>,
}

/// Where an SAE's explained variance is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The layer, from 0.
    pub layer: usize,
    /// The tokens.
    pub policy: Policy,
}

/// The tokens an SAE was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// All, of clean text.
    Clean,
    /// The masked ones.
    Mask,
    /// The visible ones.
    Unmask,
}

impl Policy {
    /// The policy of this name: `clean`, `mask`, `unmask`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "clean" => Some(Self::Clean),
            "mask" => Some(Self::Mask),
            "unmask" => Some(Self::Unmask),
            _ => None,
        }
    }

    /// Its positions.
    #[must_use]
    pub fn scope(self) -> Scope {
        match self {
            Self::Clean => Scope::All,
            Self::Mask => Scope::Masked,
            Self::Unmask => Scope::Unmasked,
        }
    }
}

/// What an SAE explains of the residual.
#[derive(Clone, Debug)]
pub struct Variance {
    /// Moments of all tokens of its policy.
    pub all: EvMoments,
    /// Moments without massive activations.
    pub robust: EvMoments,
    /// Mean over tokens of 1 - |r|² / |x - m|², m the mean of the token's row.
    pub token_mean: Option<f64>,
}

/// Sums of all SAEs of a grid.
pub struct Explained {
    places: Vec<Option<Place>>,
    clean: BTreeMap<Place, Clean>,
    errors: Vec<Option<Errors>>,
    /// The batch under way.
    batch: Option<(Batch, Vec<u64>)>,
    parts: BTreeMap<Place, Part>,
}

impl Explained {
    /// Of candidates at these places; `None` for those that are no SAE.
    #[must_use]
    pub fn new(places: &[Option<Place>], d_model: usize) -> Self {
        let side = || Side::new(d_model);
        let clean = || Clean {
            all: side(),
            robust: side(),
        };
        let errors = || Errors {
            all: side(),
            robust: side(),
            token_n: vec![0.0; UNITS],
            token_sum: vec![0.0; UNITS],
        };
        Self {
            clean: places.iter().flatten().map(|p| (*p, clean())).collect(),
            errors: places.iter().map(|p| p.map(|_| errors())).collect(),
            places: places.to_vec(),
            batch: None,
            parts: BTreeMap::new(),
        }
    }

    /// Begins a batch, whose rows have these places in their shard: `[b]`.
    pub fn begin(&mut self, batch: &Batch, ordinals: &[u64]) {
        self.batch = Some((batch.clone(), ordinals.to_vec()));
        self.parts.clear();
    }

    /// Columns of [`Explained::finish`].
    pub fn columns() -> impl Iterator<Item = &'static str> {
        EV_COLUMNS
            .into_iter()
            .chain(EV_ROBUST_COLUMNS)
            .chain(EV_TOKEN_COLUMNS)
    }

    /// Adds the sums of candidate `i` to the units there are, and returns its moments.
    ///
    /// # Errors
    /// A candidate that is no SAE.
    pub fn finish(&self, i: usize, units: &mut UnitSums) -> Result<Variance, EvalError> {
        let lost = || EvalError::Shape(format!("candidate {i} is no SAE of the grid"));
        let place = self.places.get(i).copied().flatten().ok_or_else(lost)?;
        let clean = self.clean.get(&place).ok_or_else(lost)?;
        let errors = self.errors[i].as_ref().ok_or_else(lost)?;
        let columns: [(&str, Vec<f64>); 9] = [
            (EV_COLUMNS[0], clean.all.n.clone()),
            (EV_COLUMNS[1], clean.all.about_mean()),
            (EV_COLUMNS[2], errors.all.about_mean()),
            (EV_COLUMNS[3], errors.all.squares.clone()),
            (EV_ROBUST_COLUMNS[0], clean.robust.n.clone()),
            (EV_ROBUST_COLUMNS[1], clean.robust.about_mean()),
            (EV_ROBUST_COLUMNS[2], errors.robust.about_mean()),
            (EV_TOKEN_COLUMNS[0], errors.token_n.clone()),
            (EV_TOKEN_COLUMNS[1], errors.token_sum.clone()),
        ];
        for (name, values) in &columns {
            let Some(column) = units.column(name) else {
                continue;
            };
            for (unit, value) in values.iter().enumerate().take(units.len()) {
                units.add(unit, column, *value);
            }
        }
        let moments = |x: &Side, r: &Side| {
            let (n, x2, sum_x) = x.total();
            let (_, r2, sum_r) = r.total();
            EvMoments::from_sums(n as u64, sum_x, x2, sum_r, r2)
                .map_err(|error| EvalError::Shape(error.to_string()))
        };
        let token_n: f64 = errors.token_n.iter().sum();
        Ok(Variance {
            all: moments(&clean.all, &errors.all)?,
            robust: moments(&clean.robust, &errors.robust)?,
            token_mean: (token_n > 0.0).then(|| errors.token_sum.iter().sum::<f64>() / token_n),
        })
    }

    /// The tokens of `place` in the batch under way, with their sums added.
    fn part(&mut self, place: Place, x: &Tensor) -> Result<(), EvalError> {
        let Some((batch, ordinals)) = &self.batch else {
            return Err(EvalError::Shape("a layer came before its batch".to_owned()));
        };
        let positions = batch.positions(place.policy.scope());
        let (mut among, mut rows) = (Vec::<i64>::new(), Vec::new());
        let mut valid = 0_i64;
        for (row, ordinal) in ordinals.iter().enumerate() {
            let start = among.len();
            let at = row * batch.t..(row + 1) * batch.t;
            for (is_valid, is_policy) in batch.is_valid[at.clone()].iter().zip(&positions[at]) {
                if *is_policy {
                    among.push(valid);
                }
                valid += i64::from(*is_valid);
            }
            if among.len() > start {
                rows.push((unit_of(*ordinal), start, among.len() - start));
            }
        }
        let index = Tensor::f_from_slice(&among)?.f_to_device(x.device())?;
        let x = x.f_index_select(0, &index)?; // [n, d]
        let d_model = x.size()[1] as usize;
        let zero = vec![0.0; d_model];
        let Some(clean) = self.clean.get_mut(&place) else {
            return Ok(());
        };
        let mut parts = Vec::with_capacity(rows.len());
        for (unit, start, len) in rows {
            let own = x.f_narrow(0, start as i64, len as i64)?;
            let all = centred_moments(&own, &zero, &vec![true; len])?;
            let limit = MASSIVE * median(&all.x2);
            let keep: Vec<bool> = all.x2.iter().map(|x2| *x2 <= limit).collect();
            let n_kept = keep.iter().filter(|k| **k).count();
            let mean: Vec<f64> = all.sum_x.iter().map(|s| s / len as f64).collect();
            let about_mean = centred_moments(&own, &mean, &keep)?;
            clean.all.add(unit, len, all.x2.iter().sum(), &all.sum_x);
            // The kept sum about the mean, moved back to 0.
            let sum_kept: Vec<f64> = about_mean
                .sum_x_kept
                .iter()
                .zip(&mean)
                .map(|(s, m)| s + m * n_kept as f64)
                .collect();
            let squares_kept = kept(&all.x2, &keep);
            clean.robust.add(unit, n_kept, squares_kept, &sum_kept);
            parts.push(RowPart {
                unit,
                start,
                len,
                keep,
                about_row_mean: about_mean.x2,
                squares: all.x2,
            });
        }
        self.parts.insert(
            place,
            Part {
                index,
                dtype: match x.kind() {
                    Kind::BFloat16 => Dtype::Bf16,
                    _ => Dtype::F32,
                },
                x,
                rows: parts,
            },
        );
        Ok(())
    }
}

impl Watch for Explained {
    fn layer(&mut self, layer: usize, _resid: &Tensor, x: &Tensor) -> Result<(), EvalError> {
        // Only one layer is under way.
        self.parts.clear();
        let places: Vec<Place> = self
            .clean
            .keys()
            .copied()
            .filter(|p| p.layer == layer)
            .collect();
        for place in places {
            self.part(place, x)?;
        }
        Ok(())
    }

    fn reconstructed(
        &mut self,
        candidate: usize,
        _x: &Tensor,
        x_hat: &Tensor,
    ) -> Result<(), EvalError> {
        let Some(place) = self.places.get(candidate).copied().flatten() else {
            return Ok(());
        };
        let (Some(part), Some(errors)) = (self.parts.get(&place), self.errors[candidate].as_mut())
        else {
            return Ok(());
        };
        let x_hat = x_hat.f_index_select(0, &part.index)?;
        for row in &part.rows {
            let slice = |of: &Tensor| of.f_narrow(0, row.start as i64, row.len as i64);
            let found = residual_moments(&slice(&part.x)?, &slice(&x_hat)?, &row.keep)?;
            let n_kept = row.keep.iter().filter(|k| **k).count();
            errors
                .all
                .add(row.unit, row.len, found.r2.iter().sum(), &found.sum_r);
            errors.robust.add(
                row.unit,
                n_kept,
                kept(&found.r2, &row.keep),
                &found.sum_r_kept,
            );
            if row.len >= 2 {
                let rounding = part.dtype.rounding();
                let tokens = found.r2.iter().zip(&row.about_row_mean).zip(&row.squares);
                for ((r2, spread), squares) in tokens {
                    // A token that is its row's mean but for rounding has no ratio.
                    if *spread > rounding * squares {
                        errors.token_n[row.unit] += 1.0;
                        errors.token_sum[row.unit] += 1.0 - r2 / spread;
                    }
                }
            }
        }
        Ok(())
    }
}

fn kept(values: &[f64], keep: &[bool]) -> f64 {
    values
        .iter()
        .zip(keep)
        .filter(|(_, keep)| **keep)
        .map(|(value, _)| value)
        .sum()
}

/// The lower median; 0 of nothing.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
        .get(sorted.len().saturating_sub(1) / 2)
        .copied()
        .unwrap_or(0.0)
}
