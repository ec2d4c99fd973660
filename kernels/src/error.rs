//! What can go wrong in a kernel: operands that do not fit together, or libtorch itself.

use tch::{Device, Kind, TchError};

/// Result of a kernel.
pub type Result<T> = std::result::Result<T, KernelError>;

/// A kernel's failure.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// An operand has the wrong shape.
    #[error("{kernel}: `{operand}` is {found:?}, expected {expected}")]
    Shape {
        /// Function that refused.
        kernel: &'static str,
        /// Argument's name.
        operand: &'static str,
        /// Its shape.
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
        /// Its kind.
        kind: Kind,
        /// Where it is.
        device: Device,
        /// Kind that the kernel reads.
        expected: Kind,
    },
    /// libtorch failed.
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}

impl KernelError {
    /// True where an argument, not libtorch, is at fault.
    #[must_use]
    pub fn is_argument(&self) -> bool {
        !matches!(self, Self::Torch(_))
    }
}
