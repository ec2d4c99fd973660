//! Helpers of the tests that compare instruction sets.

use harness_kernels::simd::Level;
use tch::{Kind, Tensor};

/// Result of `work` at every level of this machine, which must be the same.
pub fn at_every_level<T: PartialEq + std::fmt::Debug>(work: impl Fn() -> T) -> T {
    let first = Level::Portable.hold(&work);
    for level in Level::available() {
        assert_eq!(level.hold(&work), first, "{level:?} and Portable differ");
    }
    first
}

pub fn f32s(t: &Tensor) -> Vec<f32> {
    Vec::try_from(t.flatten(0, -1).to_kind(Kind::Float)).unwrap()
}

pub fn i64s(t: &Tensor) -> Vec<i64> {
    Vec::try_from(t.flatten(0, -1)).unwrap()
}

pub fn tensor(values: &[f32], n: usize, d: usize) -> Tensor {
    Tensor::from_slice(values).view([n as i64, d as i64])
}
