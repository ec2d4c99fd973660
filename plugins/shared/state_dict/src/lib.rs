//! What `torch.save` writes of a state dict, read from bytes alone: no tensor library, and nothing is unpickled.
//!
//! An [`Archive`] is the zip file; the pickle inside it says what its tensors are called and where their numbers lie.

mod archive;
mod names;
mod pickle;

pub use archive::{Archive, Items, Refusal};
pub use names::{unwrapped, unwrapped_items};
pub use pickle::{Item, Scalar, TensorDesc, parse};

/// Element types that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// `DoubleStorage`.
    F64,
    /// `FloatStorage`.
    F32,
    /// `HalfStorage`.
    F16,
    /// `BFloat16Storage`.
    Bf16,
    /// `LongStorage`.
    I64,
    /// `IntStorage`.
    I32,
}

impl Element {
    /// Bytes of one element.
    #[must_use]
    pub fn size(self) -> u64 {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Whether it is no whole number.
    #[must_use]
    pub fn is_float(self) -> bool {
        !matches!(self, Self::I64 | Self::I32)
    }
}

/// Number of elements, `None` on overflow.
#[must_use]
pub fn numel(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d))
}
