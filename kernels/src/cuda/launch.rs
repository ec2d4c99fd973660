//! Where kernels run, on which grids, and what they are given.

use tch::{Device, Tensor};

use super::Source;
#[cfg(feature = "cuda")]
use super::driver;
#[cfg(test)]
use super::emulation;
use crate::{Result, record, switch};

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

/// Where a kernel runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// The CUDA device with this index.
    #[cfg(feature = "cuda")]
    Device(usize),
    /// The tests' emulation, on tensors in host memory.
    #[cfg(test)]
    Emulation,
}

/// Where the kernels can run on these tensors; `None` where libtorch has to: elsewhere, on tensors
/// with gaps, and on what is part of a graph of gradients, which the kernels would not extend.
pub(super) fn place(tensors: &[&Tensor]) -> Option<Place> {
    let device = tensors.first()?.device();
    let is_plain = |t: &&Tensor| t.device() == device && t.is_contiguous() && !t.requires_grad();
    if !switch::is_on("cuda") || !tensors.iter().all(is_plain) {
        return None;
    }
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(index) if driver::is_present() => Some(Place::Device(index)),
        #[cfg(test)]
        Device::Cpu if emulation::is_on() => Some(Place::Emulation),
        _ => None,
    }
}

/// Launches `name` of `source` on a grid, where it has any block. A launch counts as an operation.
///
/// # Safety
/// The arguments are those the kernel declares, and every pointer covers what the kernel reads and
/// writes for this grid.
pub(super) unsafe fn launch(
    place: Place,
    source: &'static Source,
    name: &str,
    grid: Grid,
    args: &[Arg],
) -> Result<()> {
    if grid.x == 0 || grid.y == 0 {
        return Ok(());
    }
    let _operation = record::operation(c"harness::cuda");
    match place {
        #[cfg(feature = "cuda")]
        // SAFETY: what the caller vouches for is what is asked.
        Place::Device(index) => unsafe { driver::launch(index, source, name, grid, args) },
        #[cfg(test)]
        // SAFETY: as above.
        Place::Emulation => unsafe { emulation::launch(source, name, grid, args) },
    }
}
