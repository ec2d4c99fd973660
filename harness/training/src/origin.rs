//! Where a run's SAEs come from: what decides the result, and what their files say of it.

use harness_contract::{hash::HashCache, jobs::TrainJob, sources::Checkpoint, stages::Dtype};
use harness_core::policy::Policy;
use harness_engine::{
    error::CellError,
    plugin::{ModelInfo, Registry},
};
use serde_json::{Map, Value, json};

use crate::{grid::Tail, settings::Settings};

/// Contents that decide the result.
pub(crate) struct Hashes {
    pub model: String,
    pub data: Vec<String>,
    pub architecture: String,
}

impl Hashes {
    pub(crate) fn read(
        job: &TrainJob,
        checkpoint: &Checkpoint,
        registry: &Registry,
    ) -> Result<Self, CellError> {
        let mut cache = HashCache::in_memory();
        let data: Result<Vec<String>, _> = job.data.iter().map(|path| cache.file(path)).collect();
        let component = registry
            .components()
            .find(|c| c.kind == "sae" && c.name == job.architecture);
        Ok(Self {
            model: checkpoint.hash(&mut cache).map_err(bad_input)?,
            data: data.map_err(bad_input)?,
            // An unknown name is reported where the architecture is made.
            architecture: component.map(|c| c.hash).unwrap_or_default(),
        })
    }
}

/// Everything that decides the weights; threads and places of files do not.
pub(crate) fn fingerprint(
    job: &TrainJob,
    settings: &Settings,
    hashes: &Hashes,
) -> Map<String, Value> {
    let value = json!({
        "model": hashes.model,
        "model_name": job.model_name,
        "data": hashes.data,
        "text_field": job.text_field,
        "architecture": job.architecture,
        "architecture_hash": hashes.architecture,
        "layers": settings.layers,
        "k": settings.k,
        "policies": settings.policies.iter().map(|p| p.name()).collect::<Vec<_>>(),
        "d_sae": job.d_sae,
        "tokens": job.tokens,
        "context_length": job.context_length,
        "model_batch": job.model_batch,
        "batch": job.batch,
        "buffer": job.buffer,
        "lr": job.lr,
        "warmup_steps": job.warmup_steps,
        "decay_start": job.decay_start,
        "dead_after": job.dead_after,
        "product_dtype": job.product_dtype,
        "auxk_alpha": job.auxk_alpha,
        "t_min": job.t_min,
        "t_max": job.t_max,
        "seed": job.seed,
        "format": job.format,
        "save_dtype": job.save_dtype,
        "dtype": job.compute.dtype,
        "device": job.compute.device,
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What all SAEs of a policy have in common.
pub(crate) struct Origin<'a> {
    pub job: &'a TrainJob,
    pub settings: &'a Settings,
    pub info: &'a ModelInfo,
    pub hashes: &'a Hashes,
    /// Times the text had been begun when the last row was taken.
    pub epochs: u64,
}

/// What an SAE's configuration says of its origin. Nothing in it depends on when or where it was
/// trained.
pub(crate) fn provenance(
    origin: &Origin<'_>,
    place: (Policy, usize, u32),
    report: &Value,
) -> Value {
    let Origin {
        job,
        settings,
        info,
        hashes,
        epochs,
    } = origin;
    let (policy, layer, k) = place;
    json!({
        "harness_version": env!("CARGO_PKG_VERSION"),
        "model": job.model_name,
        "model_hash": hashes.model,
        "model_family": info.family,
        "model_dtype": dtype_name(job.compute.dtype),
        "layer": layer,
        "site": "resid_post",
        "policy": policy.name(),
        "k": k,
        "product_dtype": dtype_name(job.product_dtype),
        "tokens": settings.steps * settings.batch as u64,
        "batch": settings.batch,
        "model_batch": job.model_batch,
        "context_length": job.context_length,
        // Packing puts a begin token (or end token) in front of every row.
        "prepend_bos": true,
        "buffer": job.buffer,
        "mask_rate": if policy == Policy::Clean { Value::Null } else { json!([job.t_min, job.t_max]) },
        "seed": job.seed,
        "data": hashes.data,
        "epochs": epochs,
        "final": report,
    })
}

/// Name of a number format in files.
pub(crate) fn dtype_name(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "f32",
        Dtype::Bf16 => "bf16",
    }
}

/// Means over the last steps.
pub(crate) fn report(place: (Policy, usize, u32), tail: &Tail, settings: &Settings) -> Value {
    let (policy, layer, k) = place;
    let mean = |sum: f64| {
        if tail.steps == 0 {
            Value::Null
        } else {
            json!(sum / tail.steps as f64)
        }
    };
    json!({
        "policy": policy.name(),
        "layer": layer,
        "k": k,
        "steps": settings.steps,
        "loss": mean(tail.loss),
        "ev": mean(tail.ev),
        "l0": mean(tail.l0),
        "n_dead": tail.n_dead,
        "over_steps": tail.steps,
    })
}

/// A failure of files that were given.
pub(crate) fn bad_input(error: impl std::fmt::Display) -> CellError {
    CellError::BadInput(error.to_string())
}
