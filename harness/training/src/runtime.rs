//! The measured time of a policy's training, kept beside its SAEs.

use std::fs;

use harness_contract::{
    jobs::TrainJob,
    runtime::{RUNTIME_FILE, Runtime, SaeSeconds},
};
use harness_engine::error::CellError;

use crate::{
    grid::{Grid, Learner},
    origin::dtype_name,
    settings::Settings,
};

/// Writes the time a policy took beside its layers' folders.
pub(crate) fn write_runtime<L: Learner>(
    job: &TrainJob,
    settings: &Settings,
    grid: &Grid<L>,
) -> Result<(), CellError> {
    let compute = &job.compute;
    let mut saes = Vec::new();
    for (layer, seconds) in settings.layers.iter().zip(&grid.spent.steps) {
        for (k, seconds) in settings.k.iter().zip(seconds) {
            saes.push(SaeSeconds {
                layer: *layer as u32,
                k: *k,
                seconds: *seconds,
            });
        }
    }
    let runtime = Runtime {
        schema: 1,
        policy: grid.policy.name().to_owned(),
        device: compute.device.clone(),
        threads: compute.threads,
        model_dtype: dtype_name(compute.dtype).to_owned(),
        product_dtype: dtype_name(job.product_dtype).to_owned(),
        resumed: grid.spent.resumed,
        model_seconds: grid.spent.model,
        buffer_seconds: grid.spent.buffer,
        saes,
    };
    let path = job.out.join(grid.policy.name()).join(RUNTIME_FILE);
    let fail = |error: &dyn std::fmt::Display| {
        CellError::Store(format!("{}: cannot write it: {error}", path.display()))
    };
    let text = serde_json::to_string_pretty(&runtime).map_err(|e| fail(&e))?;
    fs::write(&path, text + "\n").map_err(|e| fail(&e))
}
