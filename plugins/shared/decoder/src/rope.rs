//! Rotary position embedding, the rotate-half form.

use std::f64::consts::PI;

use harness_kernels::rotate_halves;
use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::config::{Rope, RopeScaling, Yarn};

/// Cosines and sines of every position of a context: [1 or b, capacity, 1, head_dim / 2].
#[derive(Debug)]
pub(crate) struct RopeTables {
    cos: Tensor,
    sin: Tensor,
}

impl RopeTables {
    /// positions: [1 or b, capacity] i64. The tables are computed in float32 and kept in `kind`.
    pub(crate) fn new(rope: &Rope, head_dim: i64, positions: &Tensor, kind: Kind) -> Self {
        let frequencies = frequencies(rope, head_dim, positions); // [head_dim / 2] or [b, 1, 1, head_dim / 2]
        let angles = positions.to_kind(Kind::Float).unsqueeze(-1).unsqueeze(-1) * frequencies; // [b, t, 1, head_dim / 2]
        let table = |values: Tensor| match rope.scaling {
            RopeScaling::Yarn(yarn) => (values * yarn.attention_factor).to_kind(kind),
            _ => values.to_kind(kind),
        };
        Self {
            cos: table(angles.cos()),
            sin: table(angles.sin()),
        }
    }

    /// Rows for the slots `start..start + len`, repeated to `rows` batch rows where positions
    /// differ by row.
    pub(crate) fn chunk(&self, start: i64, len: i64, rows: i64) -> Self {
        let take = |table: &Tensor| {
            let part = table.narrow(1, start, len); // [1 or b, len, 1, head_dim / 2]
            let batch = part.size()[0];
            // Contiguous once, where every block would copy it.
            if batch == 1 || batch == rows {
                part.contiguous()
            } else {
                part.repeat([rows / batch, 1, 1, 1])
            }
        };
        Self {
            cos: take(&self.cos),
            sin: take(&self.sin),
        }
    }

    /// Turns the pair (i, i + head_dim / 2) of every head by its position's angle, in the memory of
    /// `x` where that can be.
    ///
    /// `x: [r, t, h, head_dim] -> the same shape and dtype`
    pub(crate) fn rotate(&self, x: Tensor) -> Result<Tensor> {
        Ok(rotate_halves(x, &self.cos, &self.sin)?)
    }
}

/// Radians per position of each pair: `theta^(-2 i / head_dim)`, scaled. `[head_dim / 2] f32`, and
/// `[b, 1, 1, head_dim / 2]` where they depend on a row's length.
///
/// In libtorch's float32 like the references: at position 100,000 one unit in the last place of a
/// frequency is already a visible angle.
fn frequencies(rope: &Rope, head_dim: i64, positions: &Tensor) -> Tensor {
    let exponent = Tensor::arange_start_step(0, head_dim, 2, (Kind::Float, Device::Cpu)) / head_dim;
    let turns = Tensor::pow_scalar(rope.theta, &exponent);
    let plain = turns.reciprocal();
    let scaled = match rope.scaling {
        RopeScaling::None => plain,
        RopeScaling::Linear { factor } => plain / factor,
        RopeScaling::Dynamic {
            factor,
            original_max_positions,
        } => {
            let length = (positions.amax([-1], true) + 1).to_device(Device::Cpu); // [b, 1]
            let base = grown_base(
                rope.theta,
                &length,
                factor,
                original_max_positions,
                head_dim,
            );
            let grown = base.pow(&exponent).reciprocal(); // [b, head_dim / 2]
            let is_short = length.le(original_max_positions);
            plain
                .where_self(&is_short, &grown)
                .unsqueeze(1)
                .unsqueeze(1) // [b, 1, 1, head_dim / 2]
        }
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_positions,
        } => {
            let original = original_max_positions as f64;
            let wavelength = plain.reciprocal() * (2.0 * PI); // positions per turn
            let divided = &plain / factor;
            let blend = (wavelength.reciprocal() * original - low_freq_factor)
                / (high_freq_factor - low_freq_factor);
            let between: Tensor = (1.0 - &blend) * &divided + &blend * &plain;
            let low = wavelength.gt(original / low_freq_factor);
            let high = wavelength.lt(original / high_freq_factor);
            plain.where_self(&high, &divided.where_self(&low, &between))
        }
        RopeScaling::Yarn(yarn) => {
            let kept = yarn_share_kept(&yarn, rope.theta, head_dim); // [head_dim / 2]
            let divided = (turns * yarn.factor).reciprocal();
            divided * (1.0 - &kept) + plain * kept
        }
    };
    scaled.to_device(positions.device())
}

/// The base that dynamic scaling takes for texts of the given lengths, in float32 as the reference
/// computes it. `length: [b, 1] i64 -> [b, 1] f32`
fn grown_base(theta: f64, length: &Tensor, factor: f64, original: i64, head_dim: i64) -> Tensor {
    let stretch = length.to_kind(Kind::Float) * factor / original - (factor - 1.0);
    let power = head_dim as f64 / (head_dim - 2) as f64;
    stretch.pow_tensor_scalar(power) * theta
}

/// The share of each pair's own frequency that YaRN keeps: 1 for pairs that turn often, 0 for those
/// that turn seldom, and a straight line between. [head_dim / 2] f32
fn yarn_share_kept(yarn: &Yarn, theta: f64, head_dim: i64) -> Tensor {
    let width = head_dim as f64;
    let original = yarn.original_max_positions as f64;
    // The pair that turns so many times in the first context, as a real number.
    let pair_of = |turns: f64| width * (original / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
    let (mut low, mut high) = (pair_of(yarn.beta_fast), pair_of(yarn.beta_slow));
    if yarn.truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(width - 1.0));
    if low == high {
        high += 0.001;
    }
    let pairs = Tensor::arange(head_dim / 2, (Kind::Float, Device::Cpu));
    let ramp: Tensor = (pairs - low) / (high - low);
    1.0 - ramp.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(rope: &Rope, head_dim: i64) -> Vec<f64> {
        let f = frequencies(rope, head_dim, &Tensor::from_slice(&[0i64])).to_kind(Kind::Double);
        Vec::try_from(f).expect("a vector")
    }

    const LLAMA31: RopeScaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_positions: 8192,
    };

    #[test]
    fn llama3_scaling_keeps_high_divides_low_and_blends_between() {
        let plain = values(
            &Rope {
                theta: 5e5,
                scaling: RopeScaling::None,
                rotate_in_f32: false,
            },
            128,
        );
        let scaled = values(
            &Rope {
                theta: 5e5,
                scaling: LLAMA31,
                rotate_in_f32: false,
            },
            128,
        );
        let (mut kept, mut divided, mut blended) = (0, 0, 0);
        for (p, s) in plain.iter().zip(&scaled) {
            let wavelength = 2.0 * std::f64::consts::PI / p;
            let expected = if wavelength < 8192.0 / 4.0 {
                kept += 1;
                *p
            } else if wavelength > 8192.0 {
                divided += 1;
                p / 8.0
            } else {
                blended += 1;
                let smooth = (8192.0 / wavelength - 1.0) / 3.0;
                (1.0 - smooth) * p / 8.0 + smooth * p
            };
            assert!(
                (s - expected).abs() <= 1e-6 * expected,
                "{s} for {expected}"
            );
        }
        assert!(kept > 0 && divided > 0 && blended > 0);
    }

    #[test]
    fn rotation_keeps_lengths_and_depends_on_distance_only() {
        let rope = Rope {
            theta: 1e4,
            scaling: RopeScaling::None,
            rotate_in_f32: false,
        };
        let at = |p: i64| {
            RopeTables::new(
                &rope,
                8,
                &Tensor::from_slice(&[p]).unsqueeze(0),
                Kind::Float,
            )
        };
        let q = Tensor::arange(8, (Kind::Float, Device::Cpu)).view([1, 1, 1, 8]);
        let k = (&q * 0.3 - 1.0).cos();
        let product = |i: i64, j: i64| {
            (at(i).rotate(q.copy()).unwrap() * at(j).rotate(k.copy()).unwrap())
                .sum(Kind::Double)
                .double_value(&[])
        };
        let length = at(7).rotate(q.copy()).unwrap().norm().double_value(&[]);
        assert!((length - q.norm().double_value(&[])).abs() < 1e-5);
        assert!((product(3, 1) - product(12, 10)).abs() < 1e-4);
        assert!((product(3, 1) - product(3, 2)).abs() > 1e-2);
    }
}
