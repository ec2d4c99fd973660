//! The grids of kernels, and what kernels are given.

use tch::Tensor;

/// Threads of a block; the sources say the same.
pub(super) const THREADS: u32 = 256;

/// Bytes that a thread moves at once; the sources say the same.
const PACK_BYTES: usize = 16;

/// Numbers of this tensor in a pack, as the sources count them.
pub(super) fn pack(t: &Tensor) -> i64 {
    (PACK_BYTES / t.kind().elt_size_in_bytes()) as i64
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg {
    /// Address of a tensor's first element.
    Pointer(u64),
    I64(i64),
    I32(i32),
    F32(f32),
}

impl Arg {
    /// The memory of a contiguous tensor, which must outlive the launch.
    pub(super) fn of(t: &Tensor) -> Self {
        Self::Pointer(t.data_ptr() as u64)
    }
}

/// Blocks of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) x: u32,
    pub(super) y: u32,
}

impl Grid {
    /// `x` times `y` blocks; `None` where CUDA has no such grid.
    pub(super) fn new(x: i64, y: i64) -> Option<Self> {
        Some(Self {
            x: i32::try_from(x).ok()?.try_into().ok()?,
            y: u16::try_from(y).ok()?.into(),
        })
    }

    /// Blocks whose threads take one of `n` things each.
    pub(super) fn flat(n: i64) -> Option<Self> {
        Self::new(blocks(n), 1)
    }
}

/// Blocks that have a thread for each of `n` things.
pub(super) fn blocks(n: i64) -> i64 {
    (n as u64).div_ceil(u64::from(THREADS)) as i64
}
