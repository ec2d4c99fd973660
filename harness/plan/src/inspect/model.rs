use std::{fs, path::PathBuf};

use harness_weights::{InputError, StoredTensor, check_checkpoint, read_tensors};
use serde::Serialize;

use harness_contract::sources::ModelFolder;

/// A checkpoint as far as its configuration and the headers of its weight files tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InspectedModel {
    /// Name of its folder.
    pub name: String,
    pub dir: PathBuf,
    /// `model_type` of its configuration.
    pub family: String,
    /// `masked diffusion` or `autoregressive`.
    pub objective: String,
    /// Blocks.
    pub n_layers: u32,
    /// Width of the residual stream.
    pub d_model: u32,
    /// Width of the feed-forward layer.
    pub d_ff: u32,
    /// Rows of the output head.
    pub vocab_size: u32,
    /// Numbers in its weights.
    pub parameters: u64,
    pub parameters_from: ParameterSource,
    /// Bytes of its weight files.
    pub weight_bytes: u64,
    /// Bytes of all its files.
    pub bytes: u64,
    /// What a person should know of its files before using it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Where a number of parameters is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterSource {
    /// Shapes in the headers of the weight files.
    Weights,
    /// Sizes of the configuration: two matrices of the vocabulary, and the matrices of attention
    /// and feed-forward of each block.
    Configuration,
}

impl InspectedModel {
    /// Read what is to be known of a checkpoint.
    ///
    /// # Errors
    /// When a file cannot be read, or a weight file is damaged.
    pub fn of(folder: &ModelFolder) -> Result<InspectedModel, InputError> {
        let io = InputError::io(&folder.checkpoint.dir);
        let warnings = check_checkpoint(&folder.checkpoint.dir)?;
        let (mut counted, mut bytes) = (0_u64, 0);
        for entry in fs::read_dir(&folder.checkpoint.dir).map_err(&io)? {
            let path = entry.map_err(&io)?.path();
            // A link to nothing is no file of the checkpoint: those have been followed.
            let Ok(meta) = fs::metadata(&path) else {
                continue;
            };
            if meta.is_file() {
                bytes += meta.len();
                if path.extension().is_some_and(|end| end == "safetensors") {
                    let tensors = read_tensors(&path)?;
                    let numbers = tensors.iter().map(StoredTensor::numbers);
                    counted = numbers.fold(counted, u64::saturating_add);
                }
            }
        }
        let estimate = folder.facts.shape(1).numbers();
        let objective = match folder.is_diffusion {
            true => "masked diffusion",
            false => "autoregressive",
        };
        Ok(InspectedModel {
            name: (folder.checkpoint)
                .dir
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            dir: folder.checkpoint.dir.clone(),
            family: folder.checkpoint.model_type.clone(),
            objective: objective.to_owned(),
            n_layers: folder.n_layers,
            d_model: folder.d_model,
            d_ff: folder.d_ff,
            vocab_size: folder.vocab_size,
            parameters: if counted > 0 { counted } else { estimate },
            parameters_from: match counted {
                0 => ParameterSource::Configuration,
                _ => ParameterSource::Weights,
            },
            weight_bytes: folder.checkpoint.weight_bytes,
            bytes,
            warnings,
        })
    }
}
