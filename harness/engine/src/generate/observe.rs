//! Watching a run step by step.

use tch::Tensor;

use super::{GenerateError, TokenGrid};

/// What an observer asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Blocks whose output it is shown, see [`Observer::residual`].
    pub layers: Vec<usize>,
    /// Keep what steering did.
    pub steering: bool,
}

/// The residual after one block of a pass, before a direction is added to it.
#[derive(Clone, Copy, Debug)]
pub struct ResidualReport<'a> {
    /// The step the pass belongs to, counted from 0 over all blocks of positions.
    pub step: usize,
    /// The block.
    pub layer: usize,
    /// `[b, t - start, d_model]` on the model's device, from the first column that the pass
    /// computes, `start`, which is 0 when denoising. The pass goes on with it.
    pub resid: &'a Tensor,
}

/// What the features of a pass did since the pass before, for orders that ask for it.
#[derive(Debug)]
pub struct StepFeatures {
    /// Blocks, ascending. `[l]`
    pub layers: Vec<i64>,
    /// Jaccard index of a position's latents in both passes (Eq. 20); NaN where there is no value.
    /// `[l, b, t] f32`
    pub jaccard: Tensor,
    /// 1 where the most active latent is the same, else 0; NaN where there is no value. `[l, b, t]
    /// f32`
    pub top1_same: Tensor,
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
    /// The sequence the pass ran on.
    pub before: &'a TokenGrid,
    /// The sequence afterwards.
    pub after: &'a TokenGrid,
    /// Which positions were filled. `[b, t]`
    pub revealed: &'a [bool],
    /// What steering did, where asked for.
    pub steered: Option<&'a Steered>,
}

/// Sees every step of a run.
pub trait Observer {
    /// What it needs besides the tokens.
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// Called in every pass for each block asked for, in their order. Nothing is copied: what is to
    /// outlast the call must be. A pass of the sequence without its prompt (classifier-free
    /// guidance) is not shown.
    ///
    /// # Errors
    /// Ends the run.
    fn residual(&mut self, report: &ResidualReport<'_>) -> Result<(), GenerateError> {
        let _ = report;
        Ok(())
    }

    /// Asked after each pass for what it has left where the model is and needs on the host to go
    /// on.
    fn unread(&self) -> Vec<&Tensor> {
        Vec::new()
    }

    /// Called with what [`Observer::unread`] asked for on the host, in its order, before
    /// [`Observer::features`] and [`Observer::step`]: it has come with the tokens that were chosen,
    /// in one read.
    ///
    /// # Errors
    /// Ends the run.
    fn read(&mut self, numbers: &[Tensor]) -> Result<(), GenerateError> {
        let _ = numbers;
        Ok(())
    }

    /// Called after a pass when the order reads features; `None` from an observer that has none.
    ///
    /// # Errors
    /// Ends the run.
    fn features(&mut self) -> Result<Option<StepFeatures>, GenerateError> {
        Ok(None)
    }

    /// Called after each step.
    ///
    /// # Errors
    /// Ends the run.
    fn step(&mut self, report: &StepReport<'_>) -> Result<(), GenerateError>;
}
