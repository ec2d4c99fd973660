use std::{
    fs,
    path::{Path, PathBuf},
};

use harness_weights::{InputError, check_sae};
use sae_folder::SaeFolder;
use serde::Serialize;
use serde_json::Value;

use harness_contract::runtime::Runtime;

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
    /// Activations it was trained on.
    pub tokens: Option<u64>,
    /// Times the text was begun again, where it was too short.
    pub epochs: Option<u64>,
    /// SHA-256 of the text files.
    pub data: Option<Vec<String>>,
    /// Activations of an optimiser step.
    pub batch: Option<u64>,
    /// Texts of a model pass.
    pub model_batch: Option<u64>,
    /// Tokens of a text.
    pub context_length: Option<u64>,
    /// Smallest and largest share of masked tokens; `None` also for a clean SAE.
    pub mask_rate: Option<[f64; 2]>,
    pub seed: Option<u64>,
    /// Optimiser steps.
    pub steps: Option<u64>,
    /// Peak learning rate.
    pub lr: Option<f64>,
    /// Explained variance (Eq. 15) at the end of training.
    pub ev: Option<f64>,
    /// Loss at the end of training, on activations of unit mean square.
    pub loss: Option<f64>,
    /// Active latents of a row at the end of training.
    pub l0: Option<f64>,
    /// Dead latents at the end of training.
    pub n_dead: Option<u64>,
    /// Bytes of all files of its folder.
    pub bytes: u64,
    /// Measured seconds of its training: its optimiser steps and its share of model passes.
    pub seconds: Option<f64>,
}

impl InspectedSae {
    /// Read one SAE; `runtime` is its set's record of time.
    ///
    /// # Errors
    /// When its configuration or a file's size cannot be read, or its weight file is damaged.
    pub fn read(sae: &SaeFolder, runtime: Option<&Runtime>) -> Result<InspectedSae, InputError> {
        let (_, config) = sae.config()?;
        check_sae(&sae.dir)?;
        let config = Config(Value::Object(config));
        let tokens = config.count(&["harness/tokens"]).or_else(|| {
            // dictionary_learning: steps of the trainer, rows its buffer hands out.
            let steps = config.count(&["trainer/steps"])?;
            steps.checked_mul(config.count(&["buffer/out_batch_size"])?)
        });
        let mask_rate = config.at("harness/mask_rate").and_then(|rates| {
            let rates = rates.as_array()?;
            Some([rates.first()?.as_f64()?, rates.get(1)?.as_f64()?])
        });
        Ok(InspectedSae {
            dir: sae.dir.clone(),
            sae_id: sae.id.clone(),
            layer: sae.layer,
            k: sae.k,
            d_model: sae.d_model,
            d_sae: sae.d_sae,
            format: sae.layout().map(|layout| layout.name().to_owned()),
            architecture: sae.kind.as_ref().map(|kind| match kind.is_top_k() {
                true => "topk".to_owned(),
                false => kind.name.clone(),
            }),
            dtype: config.text(&["dtype"]),
            policy: sae.policy.clone(),
            model: config.text(&["harness/model", "model_name", "trainer/lm_name"]),
            model_family: config.text(&["harness/model_family"]),
            // Other places are no SAEs of a set.
            site: Some("resid_post".to_owned()),
            tokens,
            epochs: config.count(&["harness/epochs"]),
            data: config.at("harness/data").and_then(|files| {
                let texts = files.as_array()?.iter();
                texts.map(|file| Some(file.as_str()?.to_owned())).collect()
            }),
            batch: config.count(&["harness/batch", "buffer/out_batch_size"]),
            model_batch: config.count(&["harness/model_batch", "buffer/refresh_batch_size"]),
            context_length: config.count(&["harness/context_length", "buffer/ctx_len"]),
            mask_rate,
            seed: config.count(&["harness/seed", "trainer/seed"]),
            steps: config.count(&["harness/steps_done", "harness/final/steps", "trainer/steps"]),
            lr: config.number(&["harness/trainer/lr", "trainer/lr"]),
            ev: config.number(&["harness/final/ev"]),
            loss: config.number(&["harness/final/loss"]),
            l0: config.number(&["harness/final/l0"]),
            n_dead: config.number(&["harness/final/n_dead"]).map(|n| n as u64),
            bytes: bytes_of(&sae.dir)?,
            seconds: runtime.and_then(|r| r.seconds_of(sae.layer, sae.k?)),
        })
    }
}

/// A configuration, searched at its top and in `metadata`, where SAELens keeps what is not the SAE
/// itself.
struct Config(Value);

impl Config {
    fn at(&self, path: &str) -> Option<&Value> {
        let found = self
            .0
            .pointer(&format!("/{path}"))
            .or_else(|| self.0.pointer(&format!("/metadata/{path}")));
        found.filter(|value| !value.is_null())
    }

    fn text(&self, paths: &[&str]) -> Option<String> {
        let mut texts = paths.iter().filter_map(|path| self.at(path)?.as_str());
        texts.find(|text| !text.is_empty()).map(str::to_owned)
    }

    fn count(&self, paths: &[&str]) -> Option<u64> {
        paths.iter().find_map(|path| self.at(path)?.as_u64())
    }

    fn number(&self, paths: &[&str]) -> Option<f64> {
        paths.iter().find_map(|path| self.at(path)?.as_f64())
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
