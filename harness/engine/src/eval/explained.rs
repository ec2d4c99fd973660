//! Explained variance of many SAEs over a stream of batches: sums by resampling unit, in f64.

use std::collections::{BTreeMap, btree_map::Entry};

use harness_core::{
    dtype::Dtype,
    ev::EvMoments,
    fidelity::{EV_COLUMNS, EV_ROBUST_COLUMNS, EV_TOKEN_COLUMNS, MASSIVE, UNITS},
    policy::Policy,
    units::UnitSums,
};
use harness_kernels::{Moments, TextMoments, largest_kept, residual_moments, text_moments};
use tch::{Device, Kind, Tensor};

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

/// The tokens of one policy in the batch under way.
struct Tokens {
    /// Among the real rows: `[n] i64`.
    index: Tensor,
    /// Rows of the batch that have any.
    texts: Vec<Text>,
}

/// A row's tokens of one policy.
struct Text {
    unit: usize,
    /// Where they lie among those of the policy.
    start: usize,
    len: usize,
}

impl Text {
    /// Its rows of `of: [n, d_model]`.
    fn rows(&self, of: &Tensor) -> Result<Tensor, EvalError> {
        Ok(of.f_narrow(0, self.start as i64, self.len as i64)?)
    }
}

/// The layer under way at the tokens of one policy.
struct Part {
    /// `[n, d_model]`.
    x: Tensor,
    /// For each text, tokens that are no massive activations: `[len] bool`.
    keep: Vec<Tensor>,
}

/// What the batch has left where it was computed, for each text.
enum Unread {
    Clean(Place, Dtype, Vec<TextMoments>),
    Errors(usize, Place, Vec<Moments>),
}

/// What an SAE's errors are held against in one text.
struct Spread {
    dtype: Dtype,
    /// Tokens that are no massive activations.
    keep: Vec<bool>,
    /// |x - m|² with m the mean of the row's tokens of the policy.
    about_row_mean: Vec<f64>,
    /// |x|².
    squares: Vec<f64>,
}

/// Where an SAE's explained variance is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The layer, from 0.
    pub layer: usize,
    /// The tokens.
    pub policy: Policy,
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
    /// Of the batch under way.
    tokens: BTreeMap<Policy, Tokens>,
    parts: BTreeMap<Place, Part>,
    unread: Vec<Unread>,
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
            tokens: BTreeMap::new(),
            parts: BTreeMap::new(),
            unread: Vec::new(),
        }
    }

    /// Begins a batch on a device, whose rows have these places in their shard: `[b]`.
    ///
    /// # Errors
    /// The device's.
    pub fn begin(
        &mut self,
        batch: &Batch,
        ordinals: &[u64],
        device: Device,
    ) -> Result<(), EvalError> {
        self.parts.clear();
        self.unread.clear();
        self.tokens.clear();
        for policy in self.places.iter().flatten().map(|place| place.policy) {
            if let Entry::Vacant(entry) = self.tokens.entry(policy) {
                entry.insert(tokens(batch, ordinals, policy, device)?);
            }
        }
        Ok(())
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

    /// The tokens of `place` in the batch under way, with their sums.
    fn part(&mut self, place: Place, x: &Tensor) -> Result<(), EvalError> {
        let Some(Tokens { index, texts }) = self.tokens.get(&place.policy) else {
            return Err(EvalError::Shape("a layer came before its batch".to_owned()));
        };
        let x = x.f_index_select(0, index)?; // [n, d]
        let dtype = match x.kind() {
            Kind::BFloat16 => Dtype::Bf16,
            _ => Dtype::F32,
        };
        let moments = (texts.iter())
            .map(|text| Ok(text_moments(&text.rows(&x)?, MASSIVE)?))
            .collect::<Result<Vec<_>, EvalError>>()?;
        let keep = moments.iter().map(|m| m.keep.shallow_clone()).collect();
        self.unread.push(Unread::Clean(place, dtype, moments));
        self.parts.insert(place, Part { x, keep });
        Ok(())
    }
}

/// The tokens of a policy in a batch.
fn tokens(
    batch: &Batch,
    ordinals: &[u64],
    policy: Policy,
    device: Device,
) -> Result<Tokens, EvalError> {
    let positions = batch.positions(Scope::of(policy));
    let (mut among, mut texts) = (Vec::<i64>::new(), Vec::new());
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
            texts.push(Text {
                unit: unit_of(*ordinal),
                start,
                len: among.len() - start,
            });
        }
    }
    let index = Tensor::f_from_slice(&among)?.f_to_device(device)?;
    Ok(Tokens { index, texts })
}

/// The numbers of tensors that were read, one after the other.
struct Numbers<'a>(std::slice::Iter<'a, Tensor>);

impl Numbers<'_> {
    fn next(&mut self) -> Result<Vec<f64>, EvalError> {
        Ok(Vec::try_from(self.0.next().ok_or_else(lost)?)?)
    }
}

impl Clean {
    /// Adds the moments of a text; what errors are held against.
    fn add(
        &mut self,
        text: &Text,
        dtype: Dtype,
        read: &mut Numbers<'_>,
    ) -> Result<Spread, EvalError> {
        // In the order of `Explained::unread`.
        let (squares, sum) = (read.next()?, read.next()?);
        let (about_row_mean, sum_about_mean) = (read.next()?, read.next()?);
        let limit = largest_kept(&squares, MASSIVE);
        let keep: Vec<bool> = squares.iter().map(|s| *s <= limit).collect();
        let n_kept = keep.iter().filter(|k| **k).count();
        self.all
            .add(text.unit, text.len, squares.iter().sum(), &sum);
        // The kept sum about the mean, moved back to 0.
        let sum_kept: Vec<f64> = sum_about_mean
            .iter()
            .zip(&sum)
            .map(|(s, sum)| s + sum / text.len as f64 * n_kept as f64)
            .collect();
        self.robust
            .add(text.unit, n_kept, kept(&squares, &keep), &sum_kept);
        Ok(Spread {
            dtype,
            keep,
            about_row_mean,
            squares,
        })
    }
}

impl Errors {
    /// Adds the moments of a text's errors.
    fn add(
        &mut self,
        text: &Text,
        against: &Spread,
        read: &mut Numbers<'_>,
    ) -> Result<(), EvalError> {
        // In the order of `Explained::unread`.
        let (squares, sum, sum_kept) = (read.next()?, read.next()?, read.next()?);
        let n_kept = against.keep.iter().filter(|k| **k).count();
        self.all
            .add(text.unit, text.len, squares.iter().sum(), &sum);
        let squares_kept = kept(&squares, &against.keep);
        self.robust.add(text.unit, n_kept, squares_kept, &sum_kept);
        if text.len >= 2 {
            let rounding = against.dtype.rounding();
            let tokens = (squares.iter())
                .zip(&against.about_row_mean)
                .zip(&against.squares);
            for ((r2, spread), squares) in tokens {
                // A token that is its row's mean but for rounding has no ratio.
                if *spread > rounding * squares {
                    self.token_n[text.unit] += 1.0;
                    self.token_sum[text.unit] += 1.0 - r2 / spread;
                }
            }
        }
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
        let (Some(part), Some(tokens)) = (self.parts.get(&place), self.tokens.get(&place.policy))
        else {
            return Ok(());
        };
        let x_hat = x_hat.f_index_select(0, &tokens.index)?;
        let moments = (tokens.texts.iter().zip(&part.keep))
            .map(|(text, keep)| {
                Ok(residual_moments(
                    &text.rows(&part.x)?,
                    &text.rows(&x_hat)?,
                    keep,
                )?)
            })
            .collect::<Result<Vec<_>, EvalError>>()?;
        self.unread.push(Unread::Errors(candidate, place, moments));
        Ok(())
    }

    fn unread(&self) -> Vec<&Tensor> {
        let mut tensors = Vec::new();
        for unread in &self.unread {
            match unread {
                Unread::Clean(_, _, moments) => {
                    for m in moments {
                        tensors.extend([&m.about_zero.squares, &m.about_zero.all]);
                        tensors.extend([&m.about_mean.squares, &m.about_mean.kept]);
                    }
                }
                Unread::Errors(_, _, moments) => {
                    for m in moments {
                        tensors.extend([&m.squares, &m.all, &m.kept]);
                    }
                }
            }
        }
        tensors
    }

    fn read(&mut self, numbers: &[Tensor]) -> Result<(), EvalError> {
        let mut numbers = Numbers(numbers.iter());
        let mut spreads: BTreeMap<Place, Vec<Spread>> = BTreeMap::new();
        for unread in std::mem::take(&mut self.unread) {
            match unread {
                Unread::Clean(place, dtype, _) => {
                    let clean = self.clean.get_mut(&place).ok_or_else(lost)?;
                    let tokens = self.tokens.get(&place.policy).ok_or_else(lost)?;
                    let of_texts = (tokens.texts.iter())
                        .map(|text| clean.add(text, dtype, &mut numbers))
                        .collect::<Result<_, _>>()?;
                    spreads.insert(place, of_texts);
                }
                Unread::Errors(candidate, place, _) => {
                    let errors = self.errors[candidate].as_mut().ok_or_else(lost)?;
                    let tokens = self.tokens.get(&place.policy).ok_or_else(lost)?;
                    let spreads = spreads.get(&place).ok_or_else(lost)?;
                    for (text, spread) in tokens.texts.iter().zip(spreads) {
                        errors.add(text, spread, &mut numbers)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn lost() -> EvalError {
    EvalError::Shape("moments of a batch were not read with it".to_owned())
}

fn kept(values: &[f64], keep: &[bool]) -> f64 {
    values
        .iter()
        .zip(keep)
        .filter(|(_, keep)| **keep)
        .map(|(value, _)| value)
        .sum()
}
