use std::{
    fs,
    path::{Path, PathBuf},
};

use harness_weights::{InputError, check_sae};
use serde::Serialize;

use harness_contract::{
    runtime::Runtime,
    sources::{SaeFolder, Training},
};

/// One SAE as far as its files tell; `None` is what no file states.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InspectedSae {
    pub dir: PathBuf,
    /// Its name within its set.
    pub sae_id: String,
    /// Block whose output it was trained on, from 0.
    pub layer: u32,
    /// Active budget; `None` for an SAE of a kind without one.
    pub k: Option<u32>,
    /// Width of the residual stream.
    pub d_model: u32,
    /// Latents.
    pub d_sae: u32,
    /// Layout of its files: `saelens`, `sparsify`, `dictionary_learning`, `openai`.
    pub format: Option<String>,
    /// `topk`, or what its configuration calls it.
    pub architecture: Option<String>,
    /// Number format of the stored weights.
    pub dtype: Option<String>,
    /// `mask`, `unmask` or `clean`.
    pub policy: Option<String>,
    /// Model it was trained on.
    pub model: Option<String>,
    pub model_family: Option<String>,
    /// What it reads, `resid_post` for the output of a block.
    pub site: Option<String>,
    #[serde(flatten)]
    pub training: Training,
    /// Bytes of all files of its folder.
    pub bytes: u64,
    /// Measured seconds of its training: its optimiser steps and its share of model passes.
    pub seconds: Option<f64>,
}

impl InspectedSae {
    /// What is known of one SAE; `runtime` is its set's record of time.
    ///
    /// # Errors
    /// When a file's size cannot be read, or its weight file is damaged.
    pub fn read(sae: &SaeFolder, runtime: Option<&Runtime>) -> Result<InspectedSae, InputError> {
        check_sae(&sae.dir)?;
        Ok(InspectedSae {
            dir: sae.dir.clone(),
            sae_id: sae.id.clone(),
            layer: sae.layer,
            k: sae.k,
            d_model: sae.d_model,
            d_sae: sae.d_sae,
            format: sae.format.clone(),
            architecture: sae.kind.clone(),
            dtype: sae.dtype.clone(),
            policy: sae.policy.clone(),
            model: sae.made_for.model.clone(),
            model_family: sae.made_for.family.clone(),
            // Other places are no SAEs of a set.
            site: Some("resid_post".to_owned()),
            training: sae.training.clone(),
            bytes: bytes_of(&sae.dir)?,
            seconds: runtime.and_then(|r| r.seconds_of(sae.layer, sae.k?)),
        })
    }
}

/// Sum of the sizes of a folder's files.
fn bytes_of(dir: &Path) -> Result<u64, InputError> {
    let io = InputError::io(dir);
    let mut sum = 0;
    for entry in fs::read_dir(dir).map_err(&io)? {
        let meta = fs::metadata(entry.map_err(&io)?.path()).map_err(&io)?;
        if meta.is_file() {
            sum += meta.len();
        }
    }
    Ok(sum)
}
