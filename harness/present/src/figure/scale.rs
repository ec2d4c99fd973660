//! Ranges, ticks and the way from values to positions.

use super::model::{Axis, Scale};

/// Share of a range that is left free at each end.
const MARGIN: f64 = 0.06;
/// Free places at each end of an ordinal axis.
const ORDINAL_MARGIN: f64 = 0.4;

/// Room above the highest bar for its number, as a share of the range.
const HEADROOM: f64 = 0.16;

/// An axis with its range fixed.
#[derive(Clone, Debug, PartialEq)]
pub struct Ruler {
    scale: Scale,
    /// Ends of the range, on the scale's own measure (logarithms where it is logarithmic).
    from: f64,
    to: f64,
    /// Values with labels, all of them within the range.
    pub ticks: Vec<(f64, String)>,
}

/// Whether `value` has a place on an axis of this kind.
pub(super) fn has_place(scale: Scale, value: f64) -> bool {
    value.is_finite() && (scale != Scale::Log || value > 0.0)
}

fn measure(scale: Scale, value: f64) -> f64 {
    match scale {
        Scale::Log => value.log10(),
        Scale::Linear | Scale::Ordinal => value,
    }
}

impl Ruler {
    /// The axis with room for `values`, all of which have a place on it.
    pub fn new(axis: &Axis, values: impl Iterator<Item = f64>, n_ticks: usize) -> Self {
        let scale = axis.scale;
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        let named = axis.ticks.iter().map(|(value, _)| *value);
        let named = named.filter(|value| has_place(scale, *value));
        for value in values.chain(named).map(|value| measure(scale, value)) {
            from = from.min(value);
            to = to.max(value);
        }
        if from > to {
            (from, to) = (0.0, 1.0);
        }
        if scale == Scale::Ordinal {
            (from, to) = (from - ORDINAL_MARGIN, to + ORDINAL_MARGIN);
        } else {
            let mut free = (to - from) * MARGIN;
            if free <= 1e-12 * from.abs().max(to.abs()) || free == 0.0 {
                free = (0.1 * from.abs()).max(1e-3);
            }
            (from, to) = (from - free, to + free);
        }
        let mut ruler = Self {
            scale,
            from,
            to,
            ticks: axis.ticks.clone(),
        };
        if axis.ticks.is_empty() {
            ruler.ticks = match scale {
                Scale::Log => decades(from, to),
                Scale::Linear | Scale::Ordinal => round_values(from, to, n_ticks),
            };
        }
        ruler.ticks.retain(|(value, _)| has_place(scale, *value));
        ruler
    }

    /// The axis of `n` rows or columns, each a whole number from 0 in the middle of its place.
    pub fn places(axis: &Axis, n: usize, n_ticks: usize) -> Self {
        let last = n.max(1) - 1;
        let ticks = match axis.ticks.is_empty() {
            true => whole_values(last, n_ticks),
            false => axis.ticks.clone(),
        };
        let here = |value: &f64| (0.0..=last as f64).contains(value);
        Self {
            scale: Scale::Linear,
            from: -0.5,
            to: last as f64 + 0.5,
            ticks: ticks.into_iter().filter(|(v, _)| here(v)).collect(),
        }
    }

    /// The axis of bars: from 0 to the first tick that none of `values` is above, and room for a
    /// number above that.
    pub fn from_zero(values: impl Iterator<Item = f64>, n_ticks: usize) -> Self {
        let most = values.fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        let step = round_step(most, n_ticks);
        // 100 stays 100 where the whiskers end there.
        let top = (most / step - 1e-9).ceil() * step;
        Self {
            scale: Scale::Linear,
            from: 0.0,
            to: top * (1.0 + HEADROOM),
            ticks: round_values(0.0, top * (1.0 + 1e-9), n_ticks),
        }
    }

    /// The axis from `lo` to `hi` without free ends; around a single value where they are equal.
    pub fn exact(lo: f64, hi: f64, n_ticks: usize) -> Self {
        let ruler = |from, to, ticks| Self {
            scale: Scale::Linear,
            from,
            to,
            ticks,
        };
        if lo < hi {
            return ruler(lo, hi, round_values(lo, hi, n_ticks));
        }
        let free = (0.1 * lo.abs()).max(1e-3);
        let tick = (lo, number(lo, 0.01 * lo.abs()));
        ruler(lo - free, lo + free, vec![tick])
    }

    /// Where `value` is: 0 at the lower end, 1 at the upper.
    pub fn place(&self, value: f64) -> f64 {
        (measure(self.scale, value) - self.from) / (self.to - self.from)
    }
}

/// About `n` round values between `from` and `to`.
fn round_values(from: f64, to: f64, n: usize) -> Vec<(f64, String)> {
    let step = round_step(to - from, n);
    let (first, last) = ((from / step).ceil() as i64, (to / step).floor() as i64);
    (first..=last)
        .map(|i| {
            let value = i as f64 * step;
            (value, number(value, step))
        })
        .collect()
}

/// A round number that is about `n` times in `range`.
fn round_step(range: f64, n: usize) -> f64 {
    let raw = range / n.max(1) as f64;
    let magnitude = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * magnitude)
        .find(|step| *step >= raw * 0.999)
        .unwrap_or(10.0 * magnitude)
}

/// About `n` whole numbers from 0 to `last`, both of them included.
fn whole_values(last: usize, n: usize) -> Vec<(f64, String)> {
    let step = round_step(last as f64, n).max(1.0) as usize;
    let mut values: Vec<usize> = (0..=last).step_by(step).collect();
    if let Some(end) = values.last().copied().filter(|end| *end < last) {
        if 2 * (last - end) < step && end > 0 {
            values.pop();
        }
        values.push(last);
    }
    let named = values.into_iter().map(|i| (i as f64, i.to_string()));
    named.collect()
}

/// Powers of ten between the logarithms `from` and `to`, with 2 and 5 of each where the range is
/// short.
fn decades(from: f64, to: f64) -> Vec<(f64, String)> {
    let factors: &[f64] = if to - from < 2.5 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let mut ticks = Vec::new();
    for exponent in from.floor() as i32..=to.ceil() as i32 {
        for factor in factors {
            let value = factor * 10f64.powi(exponent);
            if (from..=to).contains(&value.log10()) {
                ticks.push((value, number(value, value)));
            }
        }
    }
    ticks
}

/// A tick's label, with as many decimals as steps of `step` need.
fn number(value: f64, step: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let size = value.abs();
    if !(1e-3..1e5).contains(&size) {
        return format!("{value:.1e}").replace(".0e", "e").replace('-', "−");
    }
    let mut decimals = (-step.log10().floor()).max(0.0) as usize;
    // 0.25 needs one decimal more than 0.2.
    let shift = 10f64.powi(decimals as i32);
    if ((step * shift).round() - step * shift).abs() > 1e-6 {
        decimals += 1;
    }
    format!("{value:.decimals$}").replace('-', "−")
}
