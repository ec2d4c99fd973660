//! Runs the CUDA sources of the kernels on a CPU, so that their tests need no device.
//!
//! The sources are compiled as C++ (`kernels.cc`) with what they need of CUDA in `cuda.h`; a grid
//! is run by `grid.cc`, block after block, with 256 threads a block that meet at each barrier. What
//! a device does otherwise is its logarithm, which may differ in the last bit, the NaN that it
//! makes, and the order in which blocks and threads run, on which no result may depend.

use std::{
    ffi::{CStr, CString, c_char, c_int},
    sync::{Mutex, PoisonError},
};

/// An argument of a kernel, as its bits.
#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// An address.
    Pointer(u64),
    /// A whole number of 64 bits.
    I64(i64),
    /// A whole number of 32 bits.
    I32(i32),
    /// A number.
    F32(f32),
}

impl Arg {
    /// Its kind, as `cuda.h` numbers them, and its bits.
    fn parts(self) -> (c_int, u64) {
        match self {
            Self::Pointer(address) => (0, address),
            Self::I64(v) => (1, v as u64),
            Self::I32(v) => (2, v as u64),
            Self::F32(v) => (3, u64::from(v.to_bits())),
        }
    }
}

unsafe extern "C" {
    fn harness_emulate(
        source: *const c_char,
        name: *const c_char,
        x: u32,
        y: u32,
        count: c_int,
        kinds: *const c_int,
        bits: *const u64,
    ) -> *const c_char;
}

/// Runs the kernel `name` of `source` on `(x, y)` blocks.
///
/// # Errors
/// A kernel that the source does not have, arguments that are not those it declares, and threads of
/// a block that do not meet at a barrier.
///
/// # Safety
/// Every pointer covers what the kernel reads and writes for this grid.
pub unsafe fn launch(
    source: &str,
    name: &str,
    (x, y): (u32, u32),
    args: &[Arg],
) -> Result<(), String> {
    // A block's shared memory and the fibers are static.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = |s: &str| CString::new(s).map_err(|_| format!("{s:?} holds a null character"));
    let (c_source, c_name) = (text(source)?, text(name)?);
    let (kinds, bits): (Vec<c_int>, Vec<u64>) = args.iter().map(|arg| arg.parts()).unzip();
    // SAFETY: the strings end with null, both lists have `count` entries, and the caller vouches
    // for the pointers among the arguments.
    let wrong = unsafe {
        harness_emulate(
            c_source.as_ptr(),
            c_name.as_ptr(),
            x,
            y,
            kinds.len() as c_int,
            kinds.as_ptr(),
            bits.as_ptr(),
        )
    };
    if wrong.is_null() {
        return Ok(());
    }
    // SAFETY: what is not null is a literal.
    let wrong = unsafe { CStr::from_ptr(wrong) }.to_string_lossy();
    Err(format!("{name} of {source}.cu: {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_a_kernel_is_refused() {
        let refused = |source, name, args: &[Arg]| {
            // SAFETY: no kernel runs.
            unsafe { launch(source, name, (1, 1), args) }.unwrap_err()
        };
        let of = refused("norm", "select_f32", &[]);
        assert!(of.contains("no such kernel"), "{of}");
        let few = refused("gate", "gate_f32", &[Arg::Pointer(0)]);
        assert!(few.contains("another number of arguments"), "{few}");
        let swapped = refused(
            "gate",
            "gate_f32",
            &[Arg::Pointer(0), Arg::I64(0), Arg::Pointer(0)],
        );
        assert!(swapped.contains("of another kind"), "{swapped}");
    }
}
