//! How many numbers a tensor has, and how large they are.

use safetensors::Dtype;

/// Bytes of a number of one of the formats that are read, all of them of whole bytes.
pub(super) fn bytes_each(dtype: Dtype) -> u64 {
    dtype.bitsize() as u64 / 8
}

/// Numbers in a tensor of this shape, `None` on overflow.
#[must_use]
pub fn numel(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1u64, |n, &d| n.checked_mul(d))
}
