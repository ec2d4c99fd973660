use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value;

use crate::sources::{ModelFolder, SourceError};

/// A header of tensor names larger than this is not one.
const MAX_HEADER: u64 = 64 << 20;

/// A checkpoint as far as its configuration and the headers of its weight files tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InspectedModel {
    /// Name of its folder.
    pub name: String,
    /// Its folder.
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
    /// Where that number is from.
    pub parameters_from: ParameterSource,
    /// Bytes of its weight files.
    pub weight_bytes: u64,
    /// Bytes of all its files.
    pub bytes: u64,
}

/// Where a number of parameters is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterSource {
    /// Shapes in the headers of the weight files.
    Weights,
    /// Sizes of the configuration: two matrices of the vocabulary, and the matrices of attention and feed-forward of
    /// each block.
    Configuration,
}

impl InspectedModel {
    /// Read what is to be known of a checkpoint.
    ///
    /// # Errors
    /// When a file cannot be read, or a weight file is damaged.
    pub fn of(folder: &ModelFolder) -> Result<InspectedModel, SourceError> {
        let io = |source| SourceError::Io {
            path: folder.dir.clone(),
            source,
        };
        let (mut counted, mut bytes) = (0, 0);
        for entry in fs::read_dir(&folder.dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let meta = fs::metadata(&path).map_err(io)?;
            if meta.is_file() {
                bytes += meta.len();
                if path.extension().is_some_and(|end| end == "safetensors") {
                    counted += numbers_in(&path)?;
                }
            }
        }
        let estimate = folder.shape(1).numbers();
        let objective = match folder.is_diffusion {
            true => "masked diffusion",
            false => "autoregressive",
        };
        Ok(InspectedModel {
            name: folder
                .dir
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            dir: folder.dir.clone(),
            family: folder.model_type.clone(),
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
            weight_bytes: folder.weight_bytes,
            bytes,
        })
    }
}

/// Numbers in a safetensors file, from the shapes of its header.
fn numbers_in(path: &Path) -> Result<u64, SourceError> {
    let io = |source| SourceError::Io {
        path: path.to_owned(),
        source,
    };
    let bad = |message: String| SourceError::Unusable {
        path: path.to_owned(),
        message,
    };
    let mut file = fs::File::open(path).map_err(io)?;
    let mut length = [0; 8];
    match file.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(bad(
                "is cut off: it has no header; download it again".to_owned()
            ));
        }
        other => other.map_err(io)?,
    }
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(bad(format!(
            "states a header of {length} bytes, over the limit of {MAX_HEADER}; it is not a safetensors file"
        )));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(io)?;
    let header: Value = serde_json::from_slice(&header)
        .map_err(|error| bad(format!("has a damaged header: {error}; download it again")))?;
    let tensors = header.as_object().into_iter().flatten();
    let of_shape = |tensor: &Value| -> u64 {
        let shape = tensor["shape"].as_array().into_iter().flatten();
        let sizes = shape.filter_map(Value::as_u64);
        sizes.fold(1, u64::saturating_mul)
    };
    Ok(tensors
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(_, tensor)| of_shape(tensor))
        .fold(0, u64::saturating_add))
}
