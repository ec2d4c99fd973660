//! Where kernels run, and the one way to start them.

use tch::{Device, Tensor};

use super::Source;
#[cfg(feature = "cuda")]
use super::driver;
#[cfg(test)]
use super::emulation;
use super::grid::{Arg, Grid};
use crate::{Result, record, switch};

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
