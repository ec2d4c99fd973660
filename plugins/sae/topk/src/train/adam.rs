//! Adam (0.9, 0.999) with bias correction, in place.

use tch::{Kind, Tensor};

use crate::error::Result;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// First and second moments of one parameter.
#[derive(Debug)]
pub(super) struct Moments {
    pub first: Tensor,
    pub second: Tensor,
}

impl Moments {
    pub(super) fn of(parameter: &Tensor) -> Result<Self> {
        Ok(Self {
            first: parameter.f_zeros_like()?,
            second: parameter.f_zeros_like()?,
        })
    }

    /// One update; `step` counts from 1.
    pub(super) fn update(
        &mut self,
        parameter: &mut Tensor,
        gradient: &Tensor,
        step: u64,
        lr: f64,
    ) -> Result<()> {
        let _ = self.first.f_lerp_(gradient, 1.0 - BETA1)?;
        let _ = self.second.f_lerp_(&gradient.f_square()?, 1.0 - BETA2)?;
        let correction1 = 1.0 - BETA1.powf(step as f64);
        let correction2 = 1.0 - BETA2.powf(step as f64);
        let mut spread = self.second.f_sqrt()?;
        let _ = spread.f_div_scalar_(correction2.sqrt())?;
        let _ = spread.f_add_scalar_(EPS)?;
        let mut change = self.first.f_div(&spread)?;
        let _ = change.f_mul_scalar_(-lr / correction1)?;
        let _ = parameter.f_add_(&change)?;
        Ok(())
    }
}

/// Factor that brings the norm of the whole gradient down to `limit`.
pub(super) fn clip_factor(gradients: &[Tensor], limit: f64) -> Result<f64> {
    let mut sum = 0.0;
    for g in gradients {
        sum += g.f_square()?.f_sum(Kind::Double)?.f_double_value(&[])?;
    }
    Ok((limit / (sum.sqrt() + 1e-6)).min(1.0))
}
