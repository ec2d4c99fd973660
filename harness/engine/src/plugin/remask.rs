use harness_abi::{FeatureView, RemaskNeeds, RemaskerBox, StepView};
use tch::{Kind, Tensor};

use super::{PluginFailure, failure::Origin, tensors::Lent};
use crate::steps;

/// Tensors of one denoising step, all `[b, t]`; they are moved to the CPU where they are not.
#[derive(Debug)]
pub struct StepTensors<'a> {
    /// Step within the block of positions being decoded, from 0.
    pub step: usize,
    /// Steps of that block.
    pub n_steps: usize,
    /// i64, the sequence before this step.
    pub tokens: &'a Tensor,
    /// Nonzero where the position may be revealed now.
    pub eligible: &'a Tensor,
    /// i64, the token that would be revealed.
    pub candidate: &'a Tensor,
    /// Probability of the candidate; `None` where not needed.
    pub confidence: Option<&'a Tensor>,
    /// Largest minus second largest probability; `None` where not needed.
    pub margin: Option<&'a Tensor>,
    /// sum p·ln(p + 1e-10); `None` where not needed.
    pub neg_entropy: Option<&'a Tensor>,
    /// Draws in [0, 1); `None` where not needed.
    pub uniform: Option<&'a Tensor>,
}

/// Statistics of SAE features in one pass; tensors are moved to the CPU and to f32 where they are
/// not. Both hold NaN where there is no value: in the first pass of a run, at the prompt and at
/// padding.
#[derive(Debug)]
pub struct FeatureTensors<'a> {
    /// The `step` of the [`StepTensors`] that follows.
    pub step: usize,
    /// Blocks whose outputs are encoded, counted from 0 and ascending. `[l]`
    pub layers: &'a [i64],
    /// Jaccard index of a position's `k_set` most active latents in this pass and the pass before
    /// (Eq. 20). `[l, b, t]`
    pub jaccard: &'a Tensor,
    /// 1 where the most active latent is that of the pass before, else 0. `[l, b, t]`
    pub top1_same: &'a Tensor,
}

/// A remasker: decides which masked positions are revealed.
pub struct Remasker {
    inner: RemaskerBox,
    origin: Origin,
}

impl Remasker {
    pub(super) fn new(inner: RemaskerBox, origin: Origin) -> Self {
        Self { inner, origin }
    }

    /// Statistics the host must compute.
    #[must_use]
    pub fn needs(&self) -> RemaskNeeds {
        self.origin.follow("needs", || self.inner.needs())
    }

    /// Whether a statistic is needed.
    #[must_use]
    pub fn reads(&self, what: RemaskNeeds) -> bool {
        self.needs().0 & what.0 != 0
    }

    /// Starts a run (or a block of positions) of `n_steps` steps over `batch` rows.
    ///
    /// # Errors
    /// A number of steps it cannot do.
    pub fn begin(&mut self, n_steps: usize, batch: usize) -> Result<(), PluginFailure> {
        self.origin
            .call("begin", || self.inner.begin(n_steps as u64, batch as u64))
    }

    /// Hands over the statistics of SAE features, before [`Remasker::select`] of the same step; to
    /// be called when the remasker reads [`RemaskNeeds::FEATURES`].
    ///
    /// # Errors
    /// The plugin's own, among them features that do not fit the run; tensors of another shape.
    pub fn features(&mut self, features: &FeatureTensors<'_>) -> Result<(), PluginFailure> {
        steps::on_host(|| self.take_features(features))
    }

    fn take_features(&mut self, features: &FeatureTensors<'_>) -> Result<(), PluginFailure> {
        let host = |error: tch::TchError| self.origin.host("features", error);
        let to = |tensor: &Tensor| {
            tensor
                .f_to_device(tch::Device::Cpu)
                .and_then(|tensor| tensor.f_to_kind(Kind::Float))
                .map_err(host)
        };
        let held = [
            Tensor::f_from_slice(features.layers).map_err(host)?,
            to(features.jaccard)?,
            to(features.top1_same)?,
        ];
        let lent = held
            .iter()
            .map(Lent::read)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.origin.host("features", error))?;
        let view = FeatureView {
            step: features.step as u64,
            layers: lent[0].view(),
            jaccard: lent[1].view(),
            top1_same: lent[2].view(),
        };
        self.origin.call("features", || self.inner.features(view))
    }

    /// `[b, t] u8` on the CPU, 1 at positions to fill with their candidate.
    ///
    /// # Errors
    /// The plugin's own; a position that is not eligible; positions left after the last step.
    pub fn select(&mut self, step: &StepTensors<'_>) -> Result<Tensor, PluginFailure> {
        steps::on_host(|| self.select_on_host(step))
    }

    fn select_on_host(&mut self, step: &StepTensors<'_>) -> Result<Tensor, PluginFailure> {
        let shape = step.tokens.size();
        let cpu = (Kind::Float, tch::Device::Cpu);
        let host = |error: tch::TchError| self.origin.host("select", error);
        let to = |tensor: &Tensor, kind: Kind| {
            tensor
                .f_to_device(tch::Device::Cpu)
                .and_then(|tensor| tensor.f_to_kind(kind))
        };
        let statistic = |tensor: Option<&Tensor>| match tensor {
            Some(tensor) => to(tensor, Kind::Float),
            None => Tensor::f_zeros(&shape, cpu),
        };
        let eligible = step
            .eligible
            .f_ne(0)
            .and_then(|mask| to(&mask, Kind::Uint8))
            .map_err(host)?;
        let held = [
            to(step.tokens, Kind::Int64).map_err(host)?,
            eligible,
            to(step.candidate, Kind::Int64).map_err(host)?,
            statistic(step.confidence).map_err(host)?,
            statistic(step.margin).map_err(host)?,
            statistic(step.neg_entropy).map_err(host)?,
            statistic(step.uniform).map_err(host)?,
        ];
        let lent = held
            .iter()
            .map(Lent::read)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.origin.host("select", error))?;
        let reveal = Tensor::f_zeros(&shape, (Kind::Uint8, tch::Device::Cpu)).map_err(host)?;
        let mut out = Lent::write(&reveal).map_err(|error| self.origin.host("select", error))?;
        let view = StepView {
            step: step.step as u64,
            n_steps: step.n_steps as u64,
            tokens: lent[0].view(),
            eligible: lent[1].view(),
            candidate: lent[2].view(),
            confidence: lent[3].view(),
            margin: lent[4].view(),
            neg_entropy: lent[5].view(),
            uniform: lent[6].view(),
        };
        self.origin
            .call("select", || self.inner.select(view, out.view_mut()))?;
        let outside = reveal.gt_tensor(&held[1]).any();
        if bool::try_from(outside).map_err(|error| self.origin.host("select", error))? {
            return Err(self.origin.broken(
                "select",
                "it reveals a position that is not eligible".into(),
            ));
        }
        if step.step + 1 == step.n_steps {
            let left = held[1].gt_tensor(&reveal).sum(Kind::Int64).int64_value(&[]);
            if left > 0 {
                let message = format!("{left} positions are still masked after the last step");
                return Err(self.origin.broken("select", message));
            }
        }
        Ok(reveal)
    }
}
