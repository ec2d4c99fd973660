//! Where training starts: random unit decoder rows, and the geometric median of the first batch.

use std::f64::consts::TAU;

use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// Random rows of unit norm, `[d_sae, d_model] f32`; a pure function of the seed on every machine.
pub(super) fn unit_rows(d_sae: i64, d_model: i64, seed: u64, device: Device) -> Result<Tensor> {
    let n = (d_sae * d_model) as u64;
    let values: Vec<f32> = (0..n).map(|i| normal(seed, i) as f32).collect();
    let mut rows = Tensor::f_from_slice(&values)?
        .f_view([d_sae, d_model])?
        .f_to_device(device)?;
    normalise(&mut rows)?;
    Ok(rows)
}

/// Scales every row to unit norm in place.
pub(super) fn normalise(rows: &mut Tensor) -> Result<()> {
    let norms = rows
        .f_norm_scalaropt_dim(2, 1i64, true)?
        .f_clamp_min(1e-12)?;
    let _ = rows.f_div_(&norms)?;
    Ok(())
}

/// Draw `i` of a standard normal, by Box and Muller.
fn normal(seed: u64, i: u64) -> f64 {
    let unit = |j: u64| (mix(mix(seed) ^ j) >> 11) as f64 / (1u64 << 53) as f64; // [0, 1)
    (-2.0 * (1.0 - unit(2 * i)).ln()).sqrt() * (TAU * unit(2 * i + 1)).cos()
}

/// The output function of splitmix64.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The point with the least sum of distances to the rows of `x: [n, d]`, by Weiszfeld's iteration
/// in f64.
pub(super) fn geometric_median(x: &Tensor) -> Result<Tensor> {
    const ROUNDS: usize = 100;
    const TOLERANCE: f64 = 1e-5;
    let x = x.f_to_kind(Kind::Double)?;
    let mut guess = x.f_mean_dim(0i64, false, Kind::Double)?; // [d]
    for _ in 0..ROUNDS {
        let distance = x
            .f_sub(&guess)?
            .f_norm_scalaropt_dim(2, 1i64, true)?
            .f_clamp_min(1e-12)?;
        let weights = distance.f_reciprocal()?; // [n, 1]
        let next = x
            .f_mul(&weights)?
            .f_sum_dim_intlist(0i64, false, Kind::Double)?
            .f_div(&weights.f_sum(Kind::Double)?)?;
        let moved = next.f_sub(&guess)?.f_norm()?.f_double_value(&[])?;
        let size = guess.f_norm()?.f_double_value(&[])?;
        guess = next;
        if moved <= TOLERANCE * size {
            break;
        }
    }
    Ok(guess.f_to_kind(Kind::Float)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_of_unit_norm_and_follow_the_seed() {
        let a = unit_rows(50, 32, 1, Device::Cpu).unwrap();
        assert!(
            (a.norm_scalaropt_dim(2, 1i64, false) - 1.0)
                .abs()
                .max()
                .double_value(&[])
                < 1e-6
        );
        assert_eq!(a, unit_rows(50, 32, 1, Device::Cpu).unwrap());
        assert_ne!(a, unit_rows(50, 32, 2, Device::Cpu).unwrap());
        // Independent directions: mean cosine near 0, mean square near 1/32.
        let cosines = a.matmul(&a.tr()) - Tensor::eye(50, (Kind::Float, Device::Cpu));
        assert!(cosines.mean(Kind::Double).double_value(&[]).abs() < 0.02);
        assert!((cosines.square().mean(Kind::Double).double_value(&[]) - 0.98 / 32.0).abs() < 0.01);
    }

    #[test]
    fn a_median_ignores_an_outlier() {
        let x = Tensor::from_slice(&[0f32, 0., 1., 0., 0., 1., 1., 1., 1e6, 1e6]).view([5, 2]);
        let m = geometric_median(&x).unwrap();
        assert!(
            m.double_value(&[0]) < 1.5 && m.double_value(&[1]) < 1.5,
            "{m:?}"
        );
    }
}
