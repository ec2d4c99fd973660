//! Tensor files from outside, read without trusting them.

mod expect;
mod safetensors;
mod sniff;
mod torch_zip;

use std::{collections::BTreeMap, path::Path};

use tch::{Kind, Tensor};

use crate::error::Result;
pub(crate) use expect::{Expected, check};
pub(crate) use safetensors::{SafetensorsFile, write_safetensors};
pub(crate) use sniff::refuse_look_alikes;
pub(crate) use state_dict::{Element, Scalar, numel};
pub(crate) use torch_zip::{TorchFile, write_torch};

/// The same type in libtorch.
pub(crate) fn kind_of(element: Element) -> Kind {
    match element {
        Element::F64 => Kind::Double,
        Element::F32 => Kind::Float,
        Element::F16 => Kind::Half,
        Element::Bf16 => Kind::BFloat16,
        Element::I64 => Kind::Int64,
        Element::I32 => Kind::Int,
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
