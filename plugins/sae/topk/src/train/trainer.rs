//! One SAE in training.

use std::path::Path;

use harness_kernels::Rows;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::{
    TrainConfig,
    adam::{Moments, Update, clip_factor},
    backward::{forward, gradients},
    init::{geometric_median, unit_rows},
    parameters::Parameters,
};
use crate::{
    Format, InputNorm, SaeMeta, Stored, TopKWeights,
    error::{Result, SaeError},
    formats,
};

/// What one step measured, on its batch before the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Mean squared error of a row plus the auxiliary loss, on normalised activations.
    pub loss: f64,
    /// Explained variance (Eq. 15); `None` where the rows vary by rounding alone.
    pub ev: Option<f64>,
    /// Mean number of active latents.
    pub l0: f64,
    /// Latents that have not fired for `dead_after_tokens`.
    pub n_dead: u64,
    /// Rows of the batch.
    pub n: u64,
}

/// Trains one SAE; its whole state is in the fields, so a saved and loaded trainer goes on bit for
/// bit.
#[derive(Debug)]
pub struct Trainer {
    pub(super) config: TrainConfig,
    pub(super) device: Device,
    pub(super) parameters: Parameters,
    pub(super) moments: Vec<Moments>,
    /// Tokens since each latent fired: `[d_sae] i64`.
    pub(super) idle: Tensor,
    /// Steps done.
    pub(super) step: u64,
    /// Running mean of the smallest active value, -1 before it starts.
    pub(super) threshold: f64,
}

impl Trainer {
    /// A trainer before its first step.
    ///
    /// # Errors
    /// libtorch, for example when memory runs out.
    pub fn new(config: TrainConfig, device: Device) -> Result<Self> {
        let w_dec = unit_rows(config.d_sae, config.d_model, config.seed, device)?;
        let zeros = |n| Tensor::f_zeros([n], (Kind::Float, device));
        let parameters = Parameters {
            w_enc: w_dec.f_detach_copy()?,
            b_enc: zeros(config.d_sae)?,
            w_dec,
            b_dec: zeros(config.d_model)?,
        };
        let mut moments = Vec::new();
        for p in parameters.each() {
            moments.push(Moments::of(p)?);
        }
        let idle = Tensor::f_zeros([config.d_sae], (Kind::Int64, device))?;
        Ok(Self {
            config,
            device,
            parameters,
            moments,
            idle,
            step: 0,
            threshold: -1.0,
        })
    }

    /// Steps done.
    #[must_use]
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// One optimiser step on raw activations `x: [n, d_model]`, `n >= 2`.
    ///
    /// # Errors
    /// Another shape, or a loss that is not finite; the parameters are then as before.
    pub fn step(&mut self, x: &Tensor) -> Result<StepReport> {
        let n = match x.size()[..] {
            [n, d] if n >= 2 && d == self.config.d_model => n,
            ref found => {
                return Err(SaeError::Argument {
                    what: format!(
                        "batch of shape {found:?}, expected [2 or more, {}]",
                        self.config.d_model
                    ),
                });
            }
        };
        let x = x
            .f_to_device(self.device)?
            .f_to_kind(Kind::Float)?
            .f_div_scalar(self.config.activation_scale)?;
        if self.step == 0 {
            self.parameters.b_dec = geometric_median(&x)?;
        }
        let mut batch = forward(&x, &self.parameters, &self.config)?;
        let idle = self
            .idle
            .f_add_scalar(n)?
            .f_masked_fill(&batch.fired.f_gt(0)?, 0)?;
        let dead = idle
            .f_ge(self.config.dead_after_tokens)?
            .f_nonzero()?
            .f_flatten(0, -1)?; // [m]
        let gradients = gradients(&mut batch, &self.parameters, &self.config, &dead)?;
        let factor = clip_factor(gradients.norm, self.config.grad_clip);
        if !batch.loss.is_finite() || !gradients.norm.is_finite() {
            return Err(SaeError::Diverged {
                step: self.step,
                loss: batch.loss,
            });
        }

        self.idle = idle;
        self.track_threshold(&batch.active.acts)?;
        let lr = self.config.lr_at(self.step);
        self.step += 1;
        let update = Update {
            step: self.step,
            lr,
            factor,
        };
        let each = self.parameters.each_mut().into_iter();
        for (i, (parameter, moments)) in each.zip(&mut self.moments).enumerate() {
            let rows = match Parameters::NAMES[i] {
                "w_dec" => Rows::Unit,
                _ => Rows::Free,
            };
            moments.update(parameter, &gradients.each[i], update, rows)?;
        }
        gradients.recycle();
        Ok(StepReport {
            loss: batch.loss,
            ev: batch.ev,
            l0: batch
                .active
                .n_active
                .f_sum(Kind::Double)?
                .f_double_value(&[])?
                / n as f64,
            n_dead: dead.numel() as u64,
            n: n as u64,
        })
    }

    fn track_threshold(&mut self, acts: &Tensor) -> Result<()> {
        if self.step < self.config.threshold_start_step {
            return Ok(());
        }
        let positive = acts.f_masked_select(&acts.f_gt(0)?)?;
        let smallest = if positive.numel() == 0 {
            0.0
        } else {
            positive.f_min()?.f_double_value(&[])?
        };
        let beta = self.config.threshold_beta;
        self.threshold = match self.threshold {
            t if t < 0.0 => smallest,
            t => beta * t + (1.0 - beta) * smallest,
        };
        Ok(())
    }

    /// The weights for raw activations: the scale is folded into biases and threshold.
    ///
    /// # Errors
    /// libtorch.
    pub fn weights(&self) -> Result<TopKWeights> {
        let scale = self.config.activation_scale;
        let cpu = |t: &Tensor| t.f_to_device(Device::Cpu);
        let p = &self.parameters;
        Ok(TopKWeights {
            w_enc: cpu(&p.w_enc)?.f_tr()?,
            b_enc: cpu(&p.b_enc)?.f_mul_scalar(scale)?,
            w_dec: cpu(&p.w_dec)?,
            b_dec: cpu(&p.b_dec)?.f_mul_scalar(scale)?,
            k: self.config.k as u64,
            apply_b_dec_to_input: true,
            rescale_by_decoder_norm: false,
            input_norm: InputNorm::None,
            threshold: if self.threshold < 0.0 {
                -1.0
            } else {
                (self.threshold * scale) as f32
            },
            meta: SaeMeta {
                format: Format::Saelens,
                layer: self.config.layer,
                policy: self.config.policy.clone(),
                model: self.config.model.clone(),
            },
        })
    }

    /// Writes the SAE with `provenance`, to which the trainer's settings are added.
    ///
    /// # Errors
    /// See [`formats::save`].
    pub fn save(
        &self,
        dir: &Path,
        format: Format,
        stored: Stored,
        provenance: &Value,
    ) -> Result<()> {
        let mut provenance = match provenance {
            Value::Object(map) => map.clone(),
            _ => serde_json::Map::new(),
        };
        let settings = serde_json::to_value(&self.config).map_err(|e| SaeError::Config {
            what: e.to_string(),
        })?;
        provenance.insert("trainer".into(), settings);
        provenance
            .entry("policy")
            .or_insert_with(|| self.config.policy.clone().into());
        provenance.insert("steps_done".into(), self.step.into());
        formats::save(&self.weights()?, dir, format, stored, &provenance.into())
    }
}
