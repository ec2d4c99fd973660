//! Settings of a trainer, with the defaults of the paper's code.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Kind;

use crate::error::{Result, SaeError};

/// Settings of one SAE's training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Width of the residual stream.
    pub d_model: i64,
    /// Number of latents.
    pub d_sae: i64,
    /// Active budget per row.
    pub k: i64,
    /// Optimiser steps of the whole run.
    pub steps: u64,
    /// Peak learning rate.
    #[serde(default = "defaults::lr")]
    pub lr: f64,
    /// Steps of linear warm-up from 0.
    #[serde(default = "defaults::warmup_steps")]
    pub warmup_steps: u64,
    /// Step from which the rate falls linearly to 0; `floor(0.8 · steps)` by default.
    #[serde(default)]
    pub decay_start: Option<u64>,
    /// Largest norm of the whole gradient.
    #[serde(default = "defaults::grad_clip")]
    pub grad_clip: f64,
    /// Weight of the auxiliary loss.
    #[serde(default = "defaults::auxk_alpha")]
    pub auxk_alpha: f64,
    /// Most dead latents the auxiliary loss revives per row; `d_model / 2` by default.
    #[serde(default)]
    pub k_aux: Option<i64>,
    /// Tokens without firing after which a latent counts as dead.
    #[serde(default = "defaults::dead_after_tokens")]
    pub dead_after_tokens: i64,
    /// Decay of the running threshold.
    #[serde(default = "defaults::threshold_beta")]
    pub threshold_beta: f64,
    /// First step of the running threshold.
    #[serde(default = "defaults::threshold_start_step")]
    pub threshold_start_step: u64,
    /// Number format of the encoder's product and of the auxiliary loss's; parameters, moments and
    /// all sums are f32.
    #[serde(default)]
    pub product_dtype: ProductDtype,
    /// Seed of the initial decoder.
    #[serde(default = "defaults::seed")]
    pub seed: u64,
    /// `sqrt(mean |x|^2)` of the activations; rows are divided by it, and it is folded back on
    /// save.
    #[serde(default = "defaults::one")]
    pub activation_scale: f64,
    /// Block whose output is learnt, for the written configuration.
    #[serde(default)]
    pub layer: Option<u64>,
    /// `mask`, `unmask` or `clean`, for the written configuration.
    #[serde(default)]
    pub policy: String,
    /// Name of the model, for the written configuration.
    #[serde(default)]
    pub model: String,
}

/// Number format of a trainer's large products. Sums within a product are f32 in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProductDtype {
    #[default]
    F32,
    /// Operands and results rounded to bfloat16.
    Bf16,
}

impl ProductDtype {
    /// libtorch's name for it.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
        }
    }
}

mod defaults {
    pub fn lr() -> f64 {
        3e-4
    }
    pub fn warmup_steps() -> u64 {
        1000
    }
    pub fn grad_clip() -> f64 {
        1.0
    }
    pub fn auxk_alpha() -> f64 {
        1.0 / 32.0
    }
    pub fn dead_after_tokens() -> i64 {
        10_000_000
    }
    pub fn threshold_beta() -> f64 {
        0.999
    }
    pub fn threshold_start_step() -> u64 {
        1000
    }
    pub fn seed() -> u64 {
        3407
    }
    pub fn one() -> f64 {
        1.0
    }
}

impl TrainConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// Unknown or missing fields, or every value out of range at once.
    pub fn from_json(json: &Value) -> Result<Self> {
        let config: Self = serde_json::from_value(json.clone()).map_err(|e| SaeError::Config {
            what: e.to_string(),
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let mut bad = Vec::new();
        let mut need = |ok: bool, what: String| {
            if !ok {
                bad.push(what);
            }
        };
        need(
            self.d_model >= 2,
            format!("d_model = {}, at least 2", self.d_model),
        );
        need(
            self.d_sae >= 1,
            format!("d_sae = {}, at least 1", self.d_sae),
        );
        need(
            (1..=self.d_sae.max(1)).contains(&self.k),
            format!("k = {}, 1 to d_sae = {}", self.k, self.d_sae),
        );
        need(self.steps >= 1, "steps = 0, at least 1".into());
        let positive = |x: f64| x.is_finite() && x > 0.0;
        need(
            positive(self.lr),
            format!("lr = {}, a positive number", self.lr),
        );
        need(
            positive(self.grad_clip),
            format!("grad_clip = {}, a positive number", self.grad_clip),
        );
        need(
            positive(self.activation_scale),
            format!(
                "activation_scale = {}, a positive number",
                self.activation_scale
            ),
        );
        need(
            self.auxk_alpha.is_finite() && self.auxk_alpha >= 0.0,
            format!("auxk_alpha = {}, 0 or more", self.auxk_alpha),
        );
        need(
            (0.0..=1.0).contains(&self.threshold_beta),
            format!("threshold_beta = {}, 0 to 1", self.threshold_beta),
        );
        need(
            self.k_aux.is_none_or(|k| k >= 1),
            format!("k_aux = {}, at least 1", self.k_aux.unwrap_or_default()),
        );
        need(
            self.dead_after_tokens >= 1,
            format!("dead_after_tokens = {}, at least 1", self.dead_after_tokens),
        );
        if bad.is_empty() {
            Ok(())
        } else {
            Err(SaeError::Config {
                what: bad.join("; "),
            })
        }
    }

    /// First step of the decay.
    #[must_use]
    pub fn decay_start(&self) -> u64 {
        self.decay_start.unwrap_or(self.steps * 4 / 5)
    }

    /// Most latents revived per row.
    #[must_use]
    pub fn k_aux(&self) -> i64 {
        self.k_aux.unwrap_or(self.d_model / 2).max(1)
    }

    /// Learning rate of a step, counted from 0.
    #[must_use]
    pub fn lr_at(&self, step: u64) -> f64 {
        let mut factor = 1.0;
        if step < self.warmup_steps {
            factor = step as f64 / self.warmup_steps as f64;
        }
        let decay_start = self.decay_start();
        if step >= decay_start && decay_start < self.steps {
            let left = self.steps.saturating_sub(step) as f64;
            factor *= left / (self.steps - decay_start) as f64;
        }
        self.lr * factor
    }
}
