//! One safetensors file through a memory map. Its header has been read and checked by
//! `harness_weights`, whose messages the host shows too.

use std::fs::File;
use std::path::Path;

use harness_weights::{Dtype, StoredTensor, WeightFile};
use memmap2::{Mmap, UncheckedAdvice};
use tch::{Kind, Tensor};

use crate::{DecoderError, Result};

/// A weight file whose bytes can be copied out.
#[derive(Debug)]
pub(crate) struct TensorFile {
    file: WeightFile,
    map: Mmap,
}

/// The dtype of a tensor, if weights can have it.
pub(crate) fn kind(tensor: &StoredTensor) -> Option<Kind> {
    match tensor.dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::F64 => Some(Kind::Double),
        _ => None,
    }
}

/// Sizes as libtorch counts them; the header's check bounds them.
pub(crate) fn shape(tensor: &StoredTensor) -> Vec<i64> {
    tensor.shape.iter().map(|size| *size as i64).collect()
}

impl TensorFile {
    pub(crate) fn open(file: WeightFile) -> Result<Self> {
        let io = |source| DecoderError::io(&file.path, source);
        let opened = File::open(&file.path).map_err(io)?;
        // SAFETY: the map is read-only and lives as long as this struct, and its bytes are only
        // copied out. A file that another process shortens meanwhile would raise SIGBUS, which the
        // worker process isolates; a checkpoint folder in use is not written to.
        let map = unsafe { Mmap::map(&opened) }.map_err(io)?;
        Ok(Self { file, map })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.file.path
    }

    pub(crate) fn tensors(&self) -> &[StoredTensor] {
        &self.file.tensors
    }

    /// A copy of a tensor on the CPU, in the file's dtype.
    pub(crate) fn tensor(&self, tensor: &StoredTensor) -> Result<Tensor> {
        let Some(kind) = kind(tensor) else {
            let message = format!(
                "{} is stored as {}; weights can be F32, BF16, F16 or F64",
                tensor.name, tensor.dtype
            );
            return Err(DecoderError::weights(self.path(), message));
        };
        let at = |byte: u64| usize::try_from(self.file.data + byte).ok();
        let start = at(tensor.span.0);
        let bytes = match (start, at(tensor.span.1)) {
            (Some(start), Some(end)) => self.map.get(start..end),
            _ => None,
        };
        let (Some(start), Some(bytes)) = (start, bytes) else {
            let message = format!("{} is gone: the file has changed", tensor.name);
            return Err(DecoderError::weights(self.path(), message));
        };
        let copy = Tensor::f_from_data_size(bytes, &shape(tensor), kind)?;
        let advice = UncheckedAdvice::DontNeed;
        // Its pages are given back, or the file would be in memory beside the copies by the end of
        // the load. A system that takes no advice only keeps them.
        // SAFETY: the map is read-only and of a file, so a page that is touched again is read from
        // there again.
        let _ = unsafe { (self.map).unchecked_advise_range(advice, start, bytes.len()) };
        Ok(copy)
    }
}
