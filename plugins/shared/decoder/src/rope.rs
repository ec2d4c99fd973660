//! Rotary position embedding, the rotate-half form.

use tch::{Device, Kind, Tensor};

use crate::config::{Rope, RopeScaling};

/// Cosines and sines of every position of a context: [1 or b, 1, capacity, head_dim / 2].
#[derive(Debug)]
pub(crate) struct RopeTables {
    cos: Tensor,
    sin: Tensor,
}

impl RopeTables {
    /// positions: [1 or b, capacity] i64. The tables are computed in float32 and kept in `kind`.
    pub(crate) fn new(rope: &Rope, head_dim: i64, positions: &Tensor, kind: Kind) -> Self {
        let frequencies = frequencies(rope, head_dim, positions.device()); // [head_dim / 2]
        let angles = positions.to_kind(Kind::Float).unsqueeze(1).unsqueeze(-1) * frequencies; // [b, 1, t, head_dim / 2]
        Self {
            cos: angles.cos().to_kind(kind),
            sin: angles.sin().to_kind(kind),
        }
    }

    /// Rows for the slots `start..start + len`, repeated to `rows` batch rows where positions differ by row.
    pub(crate) fn chunk(&self, start: i64, len: i64, rows: i64) -> Self {
        let take = |table: &Tensor| {
            let part = table.narrow(2, start, len); // [1 or b, 1, len, head_dim / 2]
            let batch = part.size()[0];
            if batch == 1 || batch == rows {
                part
            } else {
                part.repeat([rows / batch, 1, 1, 1])
            }
        };
        Self {
            cos: take(&self.cos),
            sin: take(&self.sin),
        }
    }

    /// Turns the pair (i, i + head_dim / 2) of every head by its position's angle.
    ///
    /// `x: [r, h, t, head_dim] -> the same shape and dtype`
    pub(crate) fn rotate(&self, x: &Tensor) -> Tensor {
        let wide = x.to_kind(self.cos.kind());
        let halves = wide.chunk(2, -1); // 2 x [r, h, t, head_dim / 2]
        let (a, b) = (&halves[0], &halves[1]);
        let turned = Tensor::cat(
            &[
                (a * &self.cos).g_sub_(&(b * &self.sin)),
                (b * &self.cos).g_add_(&(a * &self.sin)),
            ],
            -1,
        );
        turned.to_kind(x.kind())
    }
}

/// Radians per position of each pair: `theta^(-2 i / head_dim)`, scaled. [head_dim / 2] f32
///
/// In libtorch's float32 like the references: at position 100,000 one unit in the last place of a frequency is already
/// a visible angle.
fn frequencies(rope: &Rope, head_dim: i64, device: Device) -> Tensor {
    let exponent = Tensor::arange_start_step(0, head_dim, 2, (Kind::Float, Device::Cpu)) / head_dim;
    let plain = Tensor::pow_scalar(rope.theta, &exponent).reciprocal();
    let scaled = match rope.scaling {
        RopeScaling::None => plain,
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_positions,
        } => {
            let original = original_max_positions as f64;
            let wavelength = plain.reciprocal() * (2.0 * std::f64::consts::PI); // positions per turn
            let divided = &plain / factor;
            let blend = (wavelength.reciprocal() * original - low_freq_factor)
                / (high_freq_factor - low_freq_factor);
            let between: Tensor = (1.0 - &blend) * &divided + &blend * &plain;
            let low = wavelength.gt(original / low_freq_factor);
            let high = wavelength.lt(original / high_freq_factor);
            plain.where_self(&high, &divided.where_self(&low, &between))
        }
    };
    scaled.to_device(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(rope: &Rope, head_dim: i64) -> Vec<f64> {
        let f = frequencies(rope, head_dim, Device::Cpu).to_kind(Kind::Double);
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
            (at(i).rotate(&q) * at(j).rotate(&k))
                .sum(Kind::Double)
                .double_value(&[])
        };
        let length = at(7).rotate(&q).norm().double_value(&[]);
        assert!((length - q.norm().double_value(&[])).abs() < 1e-5);
        assert!((product(3, 1) - product(12, 10)).abs() < 1e-4);
        assert!((product(3, 1) - product(3, 2)).abs() > 1e-2);
    }
}
