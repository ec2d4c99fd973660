//! Writes a model in its family's layout.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, View};
use tch::{Device, Kind, Tensor};

use super::fit::check_parameters;
use crate::config::DecoderConfig;
use crate::names::parameters;
use crate::{DecoderError, Result};

/// Writes config.json and model.safetensors, each in one step (temporary file, then rename).
///
/// The folder is created where it is missing; other files in it are left alone. Tokenizer files are
/// the caller's.
///
/// # Errors
/// Tensors that are not those of the configuration, a dtype that holds no weights, a file that
/// cannot be written.
pub fn save_checkpoint(
    folder: &Path,
    config: &DecoderConfig,
    tensors: impl IntoIterator<Item = (String, Tensor)>,
    kind: Kind,
) -> Result<()> {
    config.validate("model configuration")?;
    let tensors: HashMap<String, Tensor> = tensors.into_iter().collect();
    let found = tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.size()))
        .collect();
    check_parameters("tensors to save", &parameters(config), &found)?;
    std::fs::create_dir_all(folder).map_err(|source| DecoderError::io(folder, source))?;
    let config_path = folder.join("config.json");
    let mut json = serde_json::to_string_pretty(&config.to_json(kind)).map_err(|error| {
        DecoderError::config(config_path.display().to_string(), error.to_string())
    })?;
    json.push('\n');
    write_weights(&folder.join("model.safetensors"), tensors, kind)?;
    replace(&config_path, |temporary| {
        std::fs::write(temporary, &json).map_err(|source| DecoderError::io(temporary, source))
    })
}

/// Writes named tensors as one safetensors file of the given dtype. The bytes depend on names and
/// values only.
///
/// # Errors
/// A dtype that holds no weights, or a file that cannot be written.
pub fn write_weights(
    path: &Path,
    tensors: impl IntoIterator<Item = (String, Tensor)>,
    kind: Kind,
) -> Result<()> {
    let dtype = match kind {
        Kind::Float => Dtype::F32,
        Kind::BFloat16 => Dtype::BF16,
        Kind::Half => Dtype::F16,
        other => {
            return Err(DecoderError::argument(format!(
                "weights cannot be written as {other:?}; use f32, bf16 or f16"
            )));
        }
    };
    let views = tensors
        .into_iter()
        .map(|(name, tensor)| Ok((name, Bytes::new(&tensor, kind, dtype)?)))
        .collect::<Result<Vec<_>>>()?;
    // The Python libraries look at this entry to decide that the file is PyTorch's.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    replace(path, |temporary| {
        let io = |source| DecoderError::io(temporary, source);
        // The library makes a file that its owner alone may read; it gets the permissions back that
        // any other new file has.
        let permissions = (std::fs::File::create(temporary))
            .and_then(|file| file.metadata())
            .map_err(io)?
            .permissions();
        safetensors::serialize_to_file(views, Some(metadata), temporary)
            .map_err(|error| DecoderError::weights(path, error.to_string()))?;
        std::fs::set_permissions(temporary, permissions).map_err(io)
    })
}

/// Writes beside `path`, then renames, so that no reader sees half a file.
fn replace(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = write(&temporary).and_then(|()| {
        std::fs::rename(&temporary, path).map_err(|source| DecoderError::io(path, source))
    });
    if written.is_err() {
        // The error being returned matters more than a temporary file that may not exist.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Bytes {
    fn new(tensor: &Tensor, kind: Kind, dtype: Dtype) -> Result<Self> {
        let tensor = tensor
            .detach()
            .f_to_device(Device::Cpu)?
            .f_to_kind(kind)?
            .f_contiguous()?;
        let mut bytes = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        Ok(Self {
            dtype,
            shape: tensor.size().iter().map(|size| *size as usize).collect(),
            bytes,
        })
    }
}

impl View for Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
