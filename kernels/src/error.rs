//! What can go wrong in a kernel: operands that do not fit together, or libtorch itself.

use tch::{Device, Kind, TchError};

pub type Result<T> = std::result::Result<T, KernelError>;

/// What is wrong with the tensors that a kernel was given, or with its device.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// An operand has the wrong shape.
    #[error("{kernel}: `{operand}` is {found:?}, expected {expected}")]
    Shape {
        /// Function that refused.
        kernel: &'static str,
        /// Argument's name.
        operand: &'static str,
        found: Vec<i64>,
        /// What would fit, in words.
        expected: String,
    },
    /// A number is outside its range.
    #[error("{kernel}: `{operand}` is {found}, expected {expected}")]
    Range {
        /// Function that refused.
        kernel: &'static str,
        /// Argument's name.
        operand: &'static str,
        /// Offending value.
        found: i64,
        /// Allowed values, in words.
        expected: String,
    },
    /// A tensor is not where, or not laid out as, a slice kernel reads it.
    #[error("{kind:?} tensor on {device:?}: expected contiguous {expected:?} in host memory")]
    Memory {
        kind: Kind,
        /// Where it is.
        device: Device,
        /// Kind that the kernel reads.
        expected: Kind,
    },
    /// A CUDA source could not be compiled, loaded or launched.
    #[cfg(feature = "cuda")]
    #[error(
        "CUDA source `{source_name}`, {step}: {why}; libtorch takes the place of CUDA kernels with HARNESS_WITHOUT_KERNELS=cuda"
    )]
    Cuda {
        /// Source that the kernel is in.
        source_name: &'static str,
        /// What failed: a step, or the kernel's name.
        step: String,
        /// The library's message.
        why: String,
    },
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}

impl KernelError {
    /// True where an argument, not libtorch or CUDA, is at fault.
    #[must_use]
    pub fn is_argument(&self) -> bool {
        match self {
            Self::Shape { .. } | Self::Range { .. } | Self::Memory { .. } => true,
            Self::Torch(_) => false,
            #[cfg(feature = "cuda")]
            Self::Cuda { .. } => false,
        }
    }
}
