//! The one way by which a tensor's numbers come to the host.
//!
//! On a device each is a wait for all work before it, so they are counted, here and on a CPU alike:
//! what a run without a device counts is what it would wait for on one. Kernels whose CPU form
//! fills a vector by itself count what their device form reads.

use tch::{Device, Kind, Tensor};

use crate::{Result, record};

/// Counts a read of so many bytes that a CPU form does not need.
pub(crate) fn count(bytes: usize) {
    record::read(bytes);
}

/// The tensor in host memory, contiguous.
///
/// # Errors
/// libtorch's.
pub fn to_host(t: &Tensor) -> Result<Tensor> {
    count(t.numel() * t.kind().elt_size_in_bytes());
    Ok(t.f_to_device(Device::Cpu)?.f_contiguous()?)
}

/// Its numbers as f64, row-major.
///
/// # Errors
/// libtorch's.
pub fn f64s(t: &Tensor) -> Result<Vec<f64>> {
    let t = to_host(t)?.f_to_kind(Kind::Double)?.f_view([-1])?;
    Ok(Vec::try_from(&t)?)
}

/// Its numbers as f32, row-major.
///
/// # Errors
/// libtorch's.
pub fn f32s(t: &Tensor) -> Result<Vec<f32>> {
    let t = to_host(t)?.f_to_kind(Kind::Float)?.f_view([-1])?;
    Ok(Vec::try_from(&t)?)
}

/// Its numbers as i64, row-major.
///
/// # Errors
/// libtorch's.
pub fn i64s(t: &Tensor) -> Result<Vec<i64>> {
    let t = to_host(t)?.f_to_kind(Kind::Int64)?.f_view([-1])?;
    Ok(Vec::try_from(&t)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Counting;

    #[test]
    fn each_read_counts_its_bytes() {
        let counting = Counting::begin();
        let t = Tensor::from_slice(&[1.5f32, -2.0, 3.0]);
        assert_eq!(f64s(&t).unwrap(), [1.5, -2.0, 3.0]);
        assert_eq!(i64s(&t.to_kind(Kind::Int)).unwrap(), [1, -2, 3]);
        assert_eq!(f32s(&t.narrow(0, 1, 2)).unwrap(), [-2.0, 3.0]);
        let counted = counting.so_far();
        assert_eq!((counted.reads, counted.bytes), (3, 12 + 12 + 8));
    }
}
