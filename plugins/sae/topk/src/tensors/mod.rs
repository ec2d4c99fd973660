//! Tensor files from outside, read without trusting them.

mod expect;
mod pickle;
mod safetensors;
mod sniff;
mod torch_zip;

use std::{collections::BTreeMap, path::Path};

use tch::{Kind, Tensor};

use crate::error::Result;
pub(crate) use expect::{Expected, check};
pub(crate) use pickle::Scalar;
pub(crate) use safetensors::{SafetensorsFile, write_safetensors};
pub(crate) use sniff::refuse_look_alikes;
pub(crate) use torch_zip::{TorchFile, write_torch};

/// Names of the tensors and numbers that the pickle of a state dict describes. Nothing is executed; this is what reads `data.pkl` of every
/// `.pt` file, on bytes alone.
///
/// # Errors
/// What is refused, in words.
pub fn pickle_names(program: &[u8]) -> std::result::Result<Vec<String>, String> {
    let items = pickle::parse(program)?;
    Ok(items.into_iter().map(|(name, _)| name).collect())
}

/// Element types that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
}

impl Element {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::F64 => Kind::Double,
            Self::F32 => Kind::Float,
            Self::F16 => Kind::Half,
            Self::Bf16 => Kind::BFloat16,
            Self::I64 => Kind::Int64,
            Self::I32 => Kind::Int,
        }
    }

    pub(crate) fn size(self) -> u64 {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    pub(crate) fn is_float(self) -> bool {
        !matches!(self, Self::I64 | Self::I32)
    }
}

/// Type and shape of a tensor in a file.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    pub element: Element,
    pub shape: Vec<u64>,
}

/// A file of named tensors whose types and shapes are known before any data is read.
pub(crate) trait TensorFile {
    fn path(&self) -> &Path;
    fn metas(&self) -> &BTreeMap<String, Meta>;
    /// Data in the stored type, contiguous, on the CPU.
    fn read(&mut self, name: &str) -> Result<Tensor>;
}

/// Number of elements, `None` on overflow.
pub(crate) fn numel(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d))
}
