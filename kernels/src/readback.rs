//! The one way by which a tensor's numbers come to the host.
//!
//! On a device each is a wait for all work before it, so they are counted, here and on a CPU alike:
//! what a run without a device counts is what it would wait for on one. Kernels leave their results
//! where their operands are, so that many of them can come in one read ([`together`]).

use std::cmp::Reverse;

use tch::{Device, Kind, Tensor};

use crate::{Result, record};

/// The tensor in host memory, contiguous.
///
/// # Errors
/// libtorch's.
pub fn to_host(t: &Tensor) -> Result<Tensor> {
    record::read(bytes_of(t));
    Ok(t.f_to_device(Device::Cpu)?.f_contiguous()?)
}

/// Several tensors in host memory, contiguous, each with its shape and kind: one wait for all of
/// them. Those that lie on the host already are not copied.
///
/// # Errors
/// libtorch's.
pub fn together(tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
    let bytes: usize = tensors.iter().map(|t| bytes_of(t)).sum();
    if bytes > 0 {
        record::read(bytes);
    }
    gathered(tensors, |t| t.device() != Device::Cpu)
}

/// The tensors in host memory; those of one device that `is_far` come as one tensor of their bytes.
fn gathered(tensors: &[&Tensor], is_far: impl Fn(&Tensor) -> bool) -> Result<Vec<Tensor>> {
    let (mut far, near): (Vec<usize>, Vec<usize>) =
        (0..tensors.len()).partition(|&i| is_far(tensors[i]));
    let mut host = Vec::with_capacity(tensors.len());
    for i in near {
        host.push((i, tensors[i].f_contiguous()?));
    }
    // The widest first: bytes can be read as numbers only from a multiple of their width on.
    far.sort_by_key(|&i| Reverse(tensors[i].kind().elt_size_in_bytes()));
    let mut parts = Vec::new();
    for &i in far.iter().filter(|&&i| tensors[i].numel() > 0) {
        let flat = tensors[i].f_contiguous()?.f_view([-1])?;
        parts.push(flat.f_view_dtype(Kind::Uint8)?);
    }
    let all = match parts.is_empty() {
        true => Tensor::f_zeros([0], (Kind::Uint8, Device::Cpu))?,
        false => Tensor::f_cat(&parts, 0)?.f_to_device(Device::Cpu)?,
    };
    let mut start = 0;
    for i in far {
        let (t, len) = (tensors[i], bytes_of(tensors[i]) as i64);
        let own = all.f_narrow(0, start, len)?.f_view_dtype(t.kind())?;
        host.push((i, own.f_view(t.size().as_slice())?));
        start += len;
    }
    host.sort_by_key(|(i, _)| *i);
    Ok(host.into_iter().map(|(_, t)| t).collect())
}

fn bytes_of(t: &Tensor) -> usize {
    t.numel() * t.kind().elt_size_in_bytes()
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

    /// Tensors of widths that do not divide each other, empty ones and views with gaps.
    fn various() -> Vec<Tensor> {
        let options = (Kind::Float, Device::Cpu);
        let x = Tensor::arange(15, options).view([3, 5]);
        vec![
            x.gt(6.0),
            x.narrow(1, 1, 3),
            (&x * 100.0).to_kind(Kind::Int16),
            Tensor::zeros([2, 0], (Kind::Double, Device::Cpu)),
            x.to_kind(Kind::Double) / 3.0,
            x.sum(Kind::Int64),
            x.to_kind(Kind::BFloat16),
        ]
    }

    #[test]
    fn several_tensors_are_one_read_and_keep_their_bits() {
        let tensors = various();
        let borrowed: Vec<&Tensor> = tensors.iter().collect();
        let counting = Counting::begin();
        let together = together(&borrowed).unwrap();
        let counted = counting.so_far();
        let bytes = 15 + 9 * 4 + 15 * 2 + 15 * 8 + 8 + 15 * 2;
        assert_eq!((counted.reads, counted.bytes), (1, bytes));
        // What a device goes through.
        let far = gathered(&borrowed, |_| true).unwrap();
        let mixed = gathered(&borrowed, |t| t.kind() != Kind::Int16).unwrap();
        for found in [together, far, mixed] {
            assert_eq!(found.len(), tensors.len());
            for (found, expected) in found.iter().zip(&tensors) {
                assert_eq!(found.kind(), expected.kind());
                assert_eq!(found.size(), expected.size());
                assert!(found.is_contiguous() && found.equal(expected));
            }
        }
    }

    #[test]
    fn nothing_to_read_is_no_wait() {
        let counting = Counting::begin();
        let empty = Tensor::zeros([0, 3], (Kind::Float, Device::Cpu));
        assert_eq!(together(&[&empty]).unwrap()[0].size(), [0, 3]);
        assert_eq!(gathered(&[&empty], |_| true).unwrap()[0].size(), [0, 3]);
        assert!(together(&[]).unwrap().is_empty());
        assert_eq!(counting.so_far().reads, 0);
    }
}
