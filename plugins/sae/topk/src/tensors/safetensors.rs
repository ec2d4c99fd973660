//! Safetensors files of SAEs and of a trainer's state.

use std::{collections::BTreeMap, io::Write, path::Path};

use harness_weights::{InputError, Limits, WeightFile, pt::unwrapped};
use tch::{Kind, Tensor};

use super::{Meta, TensorFile};
use crate::error::{Result, SaeError};

/// An SAE has a handful of tensors; their header stays far below this.
const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    tensors: 256,
};

/// An open safetensors file.
#[derive(Debug)]
pub(crate) struct SafetensorsFile {
    file: WeightFile,
    metas: BTreeMap<String, Meta>,
}

impl SafetensorsFile {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// What [`WeightFile::open_within`] refuses; a number format that is not read.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::of(WeightFile::open_within(path, LIMITS)?)
    }

    /// The file with its tensors under the names the SAE itself gives them: without prefixes of
    /// torch's wrappers and of checkpoints.
    ///
    /// # Errors
    /// As [`Self::open`]; two names that become one.
    pub(crate) fn open_unwrapped(path: &Path) -> Result<Self> {
        let mut file = WeightFile::open_within(path, LIMITS)?;
        let names = file.tensors.iter().map(|tensor| &*tensor.name);
        let plain = unwrapped(names)
            .map_err(|what| InputError::unusable(path, format!("{what}; keep one of them")))?;
        for (tensor, plain) in file.tensors.iter_mut().zip(plain) {
            tensor.name = plain;
        }
        Self::of(file)
    }

    fn of(file: WeightFile) -> Result<Self> {
        let metas = file.tensors.iter().map(|tensor| {
            let meta = Meta {
                dtype: tensor.dtype,
                shape: tensor.shape.clone(),
            };
            (tensor.name.clone(), meta)
        });
        let opened = Self {
            metas: metas.collect(),
            file,
        };
        for name in opened.metas.keys() {
            opened.found(name)?;
        }
        Ok(opened)
    }

    /// The file's metadata.
    ///
    /// # Errors
    /// As [`WeightFile::words`].
    pub(crate) fn words(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.file.words()?)
    }
}

impl TensorFile for SafetensorsFile {
    fn path(&self) -> &Path {
        &self.file.path
    }

    fn metas(&self) -> &BTreeMap<String, Meta> {
        &self.metas
    }

    fn read(&mut self, name: &str) -> Result<Tensor> {
        let (meta, kind) = self.found(name)?;
        let shape: Vec<i64> = meta.shape.iter().map(|&d| d as i64).collect();
        let stored = self.file.tensor(name);
        let bytes = stored.map(|tensor| self.file.bytes(tensor)).transpose()?;
        Ok(Tensor::f_from_data_size(
            &bytes.unwrap_or_default(),
            &shape,
            kind,
        )?)
    }
}

/// Writes named tensors, f32, bf16 or i64, in the order given, with words in the file's metadata.
///
/// # Errors
/// The file system, or a tensor of another kind.
pub(crate) fn write_safetensors(
    path: &Path,
    tensors: &[(&str, Tensor)],
    metadata: &[(&str, String)],
) -> Result<()> {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        let words: serde_json::Map<_, _> = metadata
            .iter()
            .map(|(k, v)| ((*k).to_string(), v.clone().into()))
            .collect();
        header.insert("__metadata__".into(), words.into());
    }
    let mut at = 0u64;
    let mut blobs = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let dtype = match tensor.kind() {
            Kind::Float => "F32",
            Kind::BFloat16 => "BF16",
            Kind::Int64 => "I64",
            other => {
                return Err(SaeError::Argument {
                    what: format!("cannot write `{name}` as {other:?}"),
                });
            }
        };
        let bytes = raw_bytes(tensor)?;
        let end = at + bytes.len() as u64;
        header.insert(
            (*name).to_string(),
            serde_json::json!({"dtype": dtype, "shape": tensor.size(), "data_offsets": [at, end]}),
        );
        at = end;
        blobs.push(bytes);
    }
    let mut text = serde_json::Value::Object(header).to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    let mut out = Vec::with_capacity(8 + text.len() + at as usize);
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    for blob in blobs {
        out.extend_from_slice(&blob);
    }
    crate::formats::write_file(path, |file| file.write_all(&out))
}

/// A tensor's elements, row-major, little-endian (libtorch only runs on such machines).
pub(crate) fn raw_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let tensor = tensor.f_to_device(tch::Device::Cpu)?.f_contiguous()?;
    let n = tensor.numel();
    let mut bytes = vec![0; n * tensor.kind().elt_size_in_bytes()];
    if n > 0 {
        tensor.f_copy_data_u8(&mut bytes, n)?;
    }
    Ok(bytes)
}
