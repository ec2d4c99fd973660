//! Tensor files from outside, read without trusting them.

mod expect;
mod safetensors;
mod torch_zip;

use std::{collections::BTreeMap, path::Path};

use harness_weights::Dtype;
use tch::{Kind, Tensor};

use crate::error::{Result, SaeError};
pub(crate) use expect::{Expected, check};
pub(crate) use harness_weights::pt::Scalar;
pub(crate) use safetensors::{SafetensorsFile, write_safetensors};
pub(crate) use torch_zip::{TorchFile, write_torch};

/// Number format and shape of a tensor in a file.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub dtype: Dtype,
    pub shape: Vec<u64>,
}

impl Meta {
    /// The number format in libtorch; `None` for one that is not read.
    fn kind(&self) -> Option<Kind> {
        Some(match self.dtype {
            Dtype::F64 => Kind::Double,
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::I64 => Kind::Int64,
            Dtype::I32 => Kind::Int,
            _ => return None,
        })
    }
}

/// A file of named tensors whose formats and shapes are known before any data is read.
pub(crate) trait TensorFile {
    fn path(&self) -> &Path;
    fn metas(&self) -> &BTreeMap<String, Meta>;
    /// Data in the stored format, contiguous, on the CPU.
    fn read(&mut self, name: &str) -> Result<Tensor>;

    /// What is known of a tensor, and its format in libtorch.
    fn found(&self, name: &str) -> Result<(&Meta, Kind)> {
        let meta = (self.metas().get(name))
            .ok_or_else(|| SaeError::file(self.path(), format!("no tensor `{name}`"), ""))?;
        let kind = meta.kind().ok_or_else(|| {
            let what = format!("tensor `{name}` has type {}, which is not read", meta.dtype);
            SaeError::file(self.path(), what, "download it again")
        })?;
        Ok((meta, kind))
    }
}
