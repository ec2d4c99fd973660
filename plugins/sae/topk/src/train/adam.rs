//! Moments of Adam (0.9, 0.999) with bias correction, and clipping.

use harness_kernels::{AdamStep, Rows, adam_step};
use tch::Tensor;

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

/// What all parameters of a step have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    /// Counts from 1.
    pub step: u64,
    pub lr: f64,
    /// Factor of the gradient.
    pub factor: f64,
}

impl Moments {
    pub(super) fn of(parameter: &Tensor) -> Result<Self> {
        Ok(Self {
            first: parameter.f_zeros_like()?,
            second: parameter.f_zeros_like()?,
        })
    }

    /// One update, in place.
    pub(super) fn update(
        &mut self,
        parameter: &mut Tensor,
        gradient: &Tensor,
        update: Update,
        rows: Rows,
    ) -> Result<()> {
        let step = AdamStep {
            lr: update.lr,
            beta1: BETA1,
            beta2: BETA2,
            eps: EPS,
            step: update.step,
            factor: update.factor,
            rows,
        };
        Ok(adam_step(
            parameter,
            &mut self.first,
            &mut self.second,
            gradient,
            &step,
        )?)
    }
}

/// Factor that brings the norm of the whole gradient down to `limit`.
pub(super) fn clip_factor(norm: f64, limit: f64) -> f64 {
    (limit / (norm + 1e-6)).min(1.0)
}
