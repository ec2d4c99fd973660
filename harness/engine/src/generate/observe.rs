//! Watching a run step by step.

use tch::Tensor;

use super::{GenerateError, TokenGrid};

/// What an observer asks for. Residuals cost a copy, so none are kept unasked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Blocks whose output is kept.
    pub layers: Vec<usize>,
    /// Keep what steering did.
    pub steering: bool,
}

/// The residual after one block, before a direction is added to it.
#[derive(Debug)]
pub struct Captured {
    /// The block.
    pub layer: usize,
    /// `[b, t, d_model]`, on the model's device.
    pub resid: Tensor,
}

/// What steering did in one pass.
#[derive(Debug)]
pub struct Steered {
    /// The residual it found. `[b, t, d_model]`
    pub before: Tensor,
    /// The policy's coefficients. `[b, t] f32`, on the CPU
    pub coeff: Tensor,
    /// The residual it left. `[b, t, d_model]`
    pub after: Tensor,
}

/// One step of a run: a forward pass and what it filled in.
#[derive(Debug)]
pub struct StepReport<'a> {
    /// The step, counted from 0 over all blocks of positions.
    pub step: usize,
    /// Steps of the run; autoregressive runs may end earlier.
    pub n_steps: usize,
    /// The sequence the pass ran on.
    pub before: &'a TokenGrid,
    /// The sequence afterwards.
    pub after: &'a TokenGrid,
    /// Which positions were filled. `[b, t]`
    pub revealed: &'a [bool],
    /// First column that residuals belong to: they hold the columns the pass computed, all of them when denoising.
    pub start: usize,
    /// Residuals that were asked for, by layer.
    pub captured: &'a [Captured],
    /// What steering did, where asked for.
    pub steered: Option<&'a Steered>,
}

/// Sees every step of a run.
pub trait Observer {
    /// What it needs besides the tokens.
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// Called after each step.
    ///
    /// # Errors
    /// Ends the run.
    fn step(&mut self, report: &StepReport<'_>) -> Result<(), GenerateError>;
}
