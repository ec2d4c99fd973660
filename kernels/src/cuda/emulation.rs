//! Runs the kernels on tensors in host memory, for tests: `harness-kernels-emulation` has the
//! sources compiled for the CPU.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use harness_kernels_emulation as grids;

use super::{
    Source,
    grid::{Arg, Grid},
};
use crate::Result;

thread_local! {
    static IS_ON: Cell<bool> = const { Cell::new(false) };
    static LAUNCHED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Whether kernels of this thread run on tensors in host memory.
pub(super) fn is_on() -> bool {
    IS_ON.get()
}

/// Does some work with kernels running on tensors in host memory.
pub(super) fn emulated<T>(work: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            IS_ON.set(self.0);
        }
    }
    let _before = Before(IS_ON.replace(true));
    work()
}

/// Names of the kernels that this thread has launched.
pub(super) fn launched() -> BTreeSet<String> {
    LAUNCHED.with_borrow(Clone::clone)
}

/// Runs a kernel; a test that gives it what it does not take ends here.
///
/// # Safety
/// As for [`super::launch::launch`].
pub(super) unsafe fn launch(source: &Source, name: &str, grid: Grid, args: &[Arg]) -> Result<()> {
    let args: Vec<grids::Arg> = args
        .iter()
        .map(|&arg| match arg {
            Arg::Pointer(address) => grids::Arg::Pointer(address),
            Arg::I64(v) => grids::Arg::I64(v),
            Arg::I32(v) => grids::Arg::I32(v),
            Arg::F32(v) => grids::Arg::F32(v),
        })
        .collect();
    // SAFETY: the caller vouches for the pointers.
    let ran = unsafe { grids::launch(source.name, name, (grid.x, grid.y), &args) };
    assert_eq!(ran, Ok(()));
    LAUNCHED.with_borrow_mut(|names| names.insert(name.to_owned()));
    Ok(())
}
