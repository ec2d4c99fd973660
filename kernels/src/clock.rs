//! How long stretches of work take where they are done.
//!
//! A device works through its queue on its own, so the host's clock says nothing of it unless the
//! host waits, which costs what is to be measured. A [`Mark`] is put into the queue instead, and
//! two of them are asked for their distance when the work is done.

use std::{
    os::raw::c_void,
    ptr::NonNull,
    time::{Duration, Instant},
};

use tch::Device;

unsafe extern "C" {
    fn harness_mark_begin(index: i64) -> *mut c_void;
    fn harness_mark_seconds(from: *const c_void, to: *const c_void) -> f64;
    fn harness_mark_end(mark: *mut c_void);
}

/// A moment in the work of a device, or of the host where the work is done there.
#[derive(Debug)]
pub struct Mark {
    /// Where the host was.
    host: Instant,
    queued: Option<Queued>,
}

impl Mark {
    /// Behind all work that a device was given up to now. Where libtorch cannot mark its queue, the
    /// device is waited for.
    #[must_use]
    pub fn now(device: Device) -> Self {
        let queued = match device {
            Device::Cuda(index) => Queued::new(index as i64),
            _ => None,
        };
        if let (Device::Cuda(index), None) = (device, &queued) {
            tch::Cuda::synchronize(index as i64);
        }
        Self {
            host: Instant::now(),
            queued,
        }
    }

    /// Seconds from here to a later mark of the same device, when the host has waited for the work
    /// before both.
    #[must_use]
    pub fn seconds_to(&self, later: &Self) -> f64 {
        let on_device = match (&self.queued, &later.queued) {
            (Some(from), Some(to)) => Some(from.seconds_to(to)),
            _ => None,
        };
        let on_host = later.host.saturating_duration_since(self.host);
        told(on_device, on_host)
    }
}

/// What the device says, and where it says nothing what the host has seen.
fn told(on_device: Option<f64>, on_host: Duration) -> f64 {
    match on_device {
        Some(seconds) if seconds.is_finite() => seconds,
        _ => on_host.as_secs_f64(),
    }
}

/// A mark in a device's queue.
#[derive(Debug)]
struct Queued(NonNull<c_void>);

impl Queued {
    fn new(index: i64) -> Option<Self> {
        // SAFETY: the shim takes any number and gives null where there is no such device.
        NonNull::new(unsafe { harness_mark_begin(index) }).map(Self)
    }

    fn seconds_to(&self, later: &Self) -> f64 {
        // SAFETY: both pointers are those of `harness_mark_begin`, not given back yet.
        unsafe { harness_mark_seconds(self.0.as_ptr(), later.0.as_ptr()) }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        // SAFETY: the pointer is that of `harness_mark_begin`, and is given back once.
        unsafe { harness_mark_end(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_the_host_are_its_clock() {
        let (from, to) = (Mark::now(Device::Cpu), Mark::now(Device::Cpu));
        assert!(from.queued.is_none());
        let seconds = (to.host - from.host).as_secs_f64();
        assert_eq!(from.seconds_to(&to), seconds);
        assert_eq!(to.seconds_to(&from), 0.0);
    }

    #[test]
    fn a_device_that_is_not_there_has_no_queue_to_mark() {
        // Device numbers of libtorch are one byte.
        assert!(Queued::new(125).is_none());
    }

    #[test]
    fn the_device_is_believed_where_it_says_a_number() {
        let seen = Duration::from_secs(2);
        assert_eq!(told(Some(0.5), seen), 0.5);
        assert_eq!(told(Some(f64::NAN), seen), 2.0);
        assert_eq!(told(None, seen), 2.0);
    }
}
