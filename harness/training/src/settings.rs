//! What a training job asks for, checked against the model.

use harness_contract::jobs::TrainJob;
use harness_core::policy::Policy;
use harness_engine::{
    error::CellError,
    plugin::{ModelInfo, Objective},
};
use serde_json::{Value, json};

/// Sizes of a run, the same for all of its policies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub policies: Vec<Policy>,
    /// Ascending.
    pub layers: Vec<usize>,
    /// Ascending: the index of a `k` is the index of its `trainer_{i}` folder.
    pub k: Vec<u32>,
    /// Activations of an optimiser step.
    pub batch: usize,
    /// Optimiser steps of each SAE.
    pub steps: u64,
    /// Steps a full pool holds.
    pub pool_steps: u64,
    pub checkpoint_every: u64,
    /// Steps between rows of training.csv.
    pub log_every: u64,
    pub seed: u64,
    pub t_min: f64,
    pub t_max: f64,
}

impl Settings {
    /// Checks a job against its model; every fault is named at once.
    pub(crate) fn new(job: &TrainJob, info: &ModelInfo) -> Result<Self, CellError> {
        let mut bad = Vec::new();
        let mut policies = Vec::new();
        for name in &job.policies {
            match name.parse::<Policy>() {
                Ok(Policy::Mask | Policy::Unmask)
                    if info.objective == Objective::Autoregressive =>
                {
                    bad.push(format!(
                        "policy `{name}`: the model is autoregressive and masks nothing; use clean"
                    ));
                }
                Ok(Policy::Mask | Policy::Unmask) if info.mask_token_id.is_none() => {
                    bad.push(format!("policy `{name}`: the model names no mask token"));
                }
                Ok(policy) if !policies.contains(&policy) => policies.push(policy),
                Ok(_) => {}
                Err(e) => bad.push(e),
            }
        }
        if job.policies.is_empty() {
            bad.push("no policy: mask, unmask or clean".into());
        }
        let last = info.n_layers - 1;
        for layer in &job.layers {
            if *layer as usize > last {
                bad.push(format!(
                    "layer {layer} out of range: the model has {} blocks, 0 to {last}",
                    info.n_layers
                ));
            }
        }
        if job.layers.is_empty() {
            bad.push("no layer".into());
        }
        for k in &job.k {
            if *k == 0 || *k > job.d_sae {
                bad.push(format!(
                    "k = {k} out of range: {} latents, so 1 to {}",
                    job.d_sae, job.d_sae
                ));
            }
        }
        if job.k.is_empty() {
            bad.push("no k".into());
        }
        let batch = job.batch as usize;
        if batch < 2 {
            bad.push(format!("batch = {batch}: at least 2 activations"));
        }
        let steps = job.tokens / u64::from(job.batch.max(1));
        if steps == 0 {
            bad.push(format!(
                "tokens = {}: fewer than one batch of {batch}",
                job.tokens
            ));
        }
        if job.buffer < u64::from(job.batch) {
            bad.push(format!(
                "buffer = {}: smaller than one batch of {batch}",
                job.buffer
            ));
        }
        if !(0.0..=1.0).contains(&job.t_min) || !(job.t_min..=1.0).contains(&job.t_max) {
            bad.push(format!(
                "mask rates {} to {}: within 0 to 1, the smaller first",
                job.t_min, job.t_max
            ));
        }
        if job.model_batch == 0 {
            bad.push("model_batch = 0: at least 1 row".into());
        }
        if job.context_length as usize > info.max_positions {
            bad.push(format!(
                "context_length = {}: the model reads at most {} tokens",
                job.context_length, info.max_positions
            ));
        }
        if !(0.0..=1.0).contains(&job.decay_start) {
            bad.push(format!(
                "decay_start = {}: a fraction of the steps, 0 to 1",
                job.decay_start
            ));
        }
        if !bad.is_empty() {
            return Err(CellError::BadInput(bad.join("; ")));
        }
        let sorted = |mut v: Vec<u32>| {
            v.sort_unstable();
            v.dedup();
            v
        };
        Ok(Self {
            policies,
            layers: sorted(job.layers.clone())
                .into_iter()
                .map(|l| l as usize)
                .collect(),
            k: sorted(job.k.clone()),
            batch,
            steps,
            pool_steps: (job.buffer / u64::from(job.batch)).min(steps),
            checkpoint_every: u64::from(job.checkpoint_every.max(1)),
            log_every: u64::from(job.log_every.max(1)),
            seed: job.seed,
            t_min: job.t_min,
            t_max: job.t_max,
        })
    }

    /// Activations of the largest pool.
    pub(crate) fn pool_rows(&self) -> usize {
        self.pool_rows_at(0)
    }

    /// Activations of the pool that the steps after `steps` are of. The last pool is as large as
    /// what is left, so that a run takes exactly the activations it is to be trained on.
    pub(crate) fn pool_rows_at(&self, steps: u64) -> usize {
        let first = steps / self.pool_steps * self.pool_steps;
        let left = self.steps.saturating_sub(first);
        left.min(self.pool_steps) as usize * self.batch
    }

    /// Activations that each SAE is trained on.
    pub(crate) fn rows(&self) -> u64 {
        self.steps * self.batch as u64
    }

    /// Steps of all policies.
    pub(crate) fn all_steps(&self) -> u64 {
        self.steps * self.policies.len() as u64
    }

    /// Share of the tokens of a text that a policy takes, on average.
    pub(crate) fn share(&self, policy: Policy) -> f64 {
        let masked = f64::midpoint(self.t_min, self.t_max);
        match policy {
            Policy::Mask => masked,
            Policy::Unmask => 1.0 - masked,
            Policy::Clean => 1.0,
        }
    }
}

/// Configuration of one trainer, in the names that architectures share.
pub(crate) fn trainer_config(
    job: &TrainJob,
    settings: &Settings,
    d_model: usize,
    place: (Policy, usize, u32),
    activation_scale: f64,
) -> Value {
    let (policy, layer, k) = place;
    json!({
        "d_model": d_model,
        "d_sae": job.d_sae,
        "k": k,
        "steps": settings.steps,
        "lr": job.lr,
        "warmup_steps": job.warmup_steps,
        "decay_start": (job.decay_start * settings.steps as f64).floor() as u64,
        "auxk_alpha": job.auxk_alpha,
        "dead_after_tokens": job.dead_after,
        "product_dtype": job.product_dtype,
        "seed": job.seed,
        "activation_scale": activation_scale,
        "layer": layer,
        "policy": policy.name(),
        "model": job.model_name,
    })
}
