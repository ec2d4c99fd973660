//! Counts the operations of a stretch of work, libtorch's and ours, so that progress can be seen
//! where no device is.
//!
//! An operation is one kernel's worth of work: views, allocations and composites that only call
//! others are none. libtorch announces its own to whoever listens; each kernel of ours announces
//! itself with `operation`.

use std::{
    ffi::CStr,
    marker::PhantomData,
    os::raw::{c_char, c_void},
};

unsafe extern "C" {
    fn harness_count_begin() -> u64;
    fn harness_count_end(handle: u64);
    fn harness_count_so_far(
        operations: *mut i64,
        reads: *mut i64,
        bytes: *mut i64,
        attention: *mut i64,
    );
    fn harness_operation_begin(name: *const c_char, number: i64) -> *mut c_void;
    fn harness_operation_end(operation: *mut c_void);
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Kernels' worth of work.
    pub operations: u64,
    /// Times the host waits for a tensor's numbers: on a device, for all work before them.
    pub reads: u64,
    /// Bytes that come to the host with them.
    pub bytes: u64,
    /// A bit for each of libtorch's attention kernels that has run: flash, memory-efficient, cuDNN,
    /// plain products, and the CPU's flash, from the lowest bit.
    pub attention: u64,
}

/// Counts what this thread asks of libtorch until it is dropped; one at a time on a thread.
#[derive(Debug)]
pub struct Counting {
    handle: u64,
    /// What is counted belongs to the thread that began.
    of_thread: PhantomData<*const ()>,
}

impl Counting {
    /// Begins at zero.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            // SAFETY: it registers a callback of the shim's own.
            handle: unsafe { harness_count_begin() },
            of_thread: PhantomData,
        }
    }

    /// What was counted up to now.
    #[must_use]
    pub fn so_far(&self) -> Operations {
        let (mut operations, mut reads, mut bytes, mut attention) = (0, 0, 0, 0);
        // SAFETY: the pointers are to numbers of this frame.
        unsafe {
            harness_count_so_far(
                &raw mut operations,
                &raw mut reads,
                &raw mut bytes,
                &raw mut attention,
            );
        }
        Operations {
            operations: operations.unsigned_abs(),
            reads: reads.unsigned_abs(),
            bytes: bytes.unsigned_abs(),
            attention: attention.unsigned_abs(),
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // SAFETY: the handle is that of `begin` on this thread, and is given back once.
        unsafe { harness_count_end(self.handle) };
    }
}

/// Announces an operation of ours for as long as the result lives; costs a look at a flag where
/// nobody counts.
#[must_use]
pub(crate) fn operation(name: &'static CStr) -> Operation {
    // SAFETY: the name lives as long as the process.
    Operation(unsafe { harness_operation_begin(name.as_ptr(), -1) })
}

/// Announces that so many bytes of a tensor come to the host. Plugins are libraries of their own,
/// and libtorch is what all of them share.
pub(crate) fn read(bytes: usize) {
    // SAFETY: as in `operation`.
    drop(Operation(unsafe {
        harness_operation_begin(c"harness::read".as_ptr(), bytes as i64)
    }));
}

/// An operation under way.
pub(crate) struct Operation(*mut c_void);

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the pointer is that of `harness_operation_begin`, and is given back once.
            unsafe { harness_operation_end(self.0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn views_are_free_and_kernels_count() {
        let x = Tensor::rand([4, 8], (Kind::Float, Device::Cpu));
        let weight = Tensor::rand([8, 8], (Kind::Float, Device::Cpu));
        let counting = Counting::begin();
        let _ = x.view([8, 4]).transpose(0, 1).unsqueeze(0).narrow(1, 0, 2);
        assert_eq!(counting.so_far(), Operations::default());
        // A composite: the product alone is a kernel.
        let y = x.linear::<Tensor>(&weight, None);
        assert_eq!(counting.so_far().operations, 1);
        // A copy into a transposed layout is one.
        let _ = y.transpose(0, 1).contiguous();
        assert_eq!(counting.so_far().operations, 2);
        let _ = y.double_value(&[0, 0]);
        assert_eq!(
            counting.so_far(),
            Operations {
                operations: 2,
                reads: 1,
                bytes: 8,
                attention: 0
            }
        );
        drop(counting);
        let _ = &y + 1.0;
        let q = Tensor::rand([1, 2, 3, 4], (Kind::Float, Device::Cpu));
        let counting = Counting::begin();
        assert_eq!(counting.so_far(), Operations::default());
        {
            let _ours = operation(c"harness::of_ours");
        }
        assert_eq!(counting.so_far().operations, 1);
        let _ = Tensor::scaled_dot_product_attention::<Tensor>(
            &q, &q, &q, None, 0.0, false, None, false,
        );
        let counted = counting.so_far();
        assert_eq!((counted.operations, counted.attention), (2, 1 << 4));
    }
}
