use harness_abi::{SteerNeeds, SteerRequest, SteeringPolicyBox};
use tch::{Kind, Tensor};

use super::{PluginFailure, failure::Origin, tensors::Lent};
use crate::steps;

/// Tensors of one forward pass, all `[b, t]`; they are moved to the CPU where they are not.
#[derive(Debug)]
pub struct SteerTensors<'a> {
    /// Denoising step, or number of tokens generated so far.
    pub step: usize,
    /// Steps of the run.
    pub n_steps: usize,
    /// Strength α of Eq. 4.
    pub amp_factor: f64,
    /// Nonzero at real tokens.
    pub is_valid: &'a Tensor,
    /// Nonzero where the input is the mask token.
    pub is_masked: &'a Tensor,
    /// `ReLU(p)` of the steered latent; `None` where not needed.
    pub latent_act: Option<&'a Tensor>,
}

/// A steering policy: decides where and how strongly a direction is added.
pub struct SteeringPolicy {
    inner: SteeringPolicyBox,
    origin: Origin,
}

impl SteeringPolicy {
    pub(super) fn new(inner: SteeringPolicyBox, origin: Origin) -> Self {
        Self { inner, origin }
    }

    /// Whether the policy reads the steered latent's activation.
    #[must_use]
    pub fn reads_latent_act(&self) -> bool {
        let needs = self.origin.follow("needs", || self.inner.needs());
        needs.0 & SteerNeeds::LATENT_ACT.0 != 0
    }

    /// `coeff: [b, t] f32` on the CPU.
    ///
    /// # Errors
    /// The plugin's own; a coefficient that is not finite or not 0 at padding.
    pub fn plan(&mut self, step: &SteerTensors<'_>) -> Result<Tensor, PluginFailure> {
        steps::on_host(|| self.plan_on_host(step))
    }

    fn plan_on_host(&mut self, step: &SteerTensors<'_>) -> Result<Tensor, PluginFailure> {
        let host = |error: tch::TchError| self.origin.host("plan", error);
        let shape = step.is_valid.size();
        let flag = |tensor: &Tensor| {
            tensor
                .f_ne(0)
                .and_then(|mask| mask.f_to_device(tch::Device::Cpu))
                .and_then(|mask| mask.f_to_kind(Kind::Uint8))
        };
        let valid = flag(step.is_valid).map_err(host)?;
        let masked = flag(step.is_masked).map_err(host)?;
        let acts = match step.latent_act {
            Some(acts) => acts
                .f_to_device(tch::Device::Cpu)
                .and_then(|acts| acts.f_to_kind(Kind::Float))
                .map_err(host)?,
            None => Tensor::f_zeros(&shape, (Kind::Float, tch::Device::Cpu)).map_err(host)?,
        };
        let coeff = Tensor::f_zeros(&shape, (Kind::Float, tch::Device::Cpu)).map_err(host)?;
        let lend =
            |tensor: &Tensor| Lent::read(tensor).map_err(|error| self.origin.host("plan", error));
        let (lent_valid, lent_masked, lent_acts) = (lend(&valid)?, lend(&masked)?, lend(&acts)?);
        let mut out = Lent::write(&coeff).map_err(|error| self.origin.host("plan", error))?;
        let request = SteerRequest {
            step: step.step as u64,
            n_steps: step.n_steps as u64,
            amp_factor: step.amp_factor,
            is_valid: lent_valid.view(),
            is_masked: lent_masked.view(),
            latent_act: lent_acts.view(),
        };
        self.origin
            .call("plan", || self.inner.plan(request, out.view_mut()))?;
        let wrong = coeff
            .isfinite()
            .logical_not()
            .logical_or(&coeff.ne(0.0).logical_and(&valid.eq(0)));
        if bool::try_from(wrong.any()).map_err(|error| self.origin.host("plan", error))? {
            let message = "a coefficient is not finite, or not 0 at padding".to_owned();
            return Err(self.origin.broken("plan", message));
        }
        Ok(coeff)
    }
}
