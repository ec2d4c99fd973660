//! Inputs from a fixed seed, and memory that shows where a plugin writes.

use harness_core::rng::Stream;
use tch::{Kind, Tensor};

use super::verdict::{Checked, ensure};

/// Seed of all inputs of the tests.
pub(super) const SEED: u64 = 20_260_101;

/// Elements of margin on each side of a guarded tensor.
const MARGIN: i64 = 64;

/// Draws for a purpose.
pub(super) fn stream(purpose: &str) -> Stream {
    Stream::new(SEED, purpose)
}

/// Uniform draws in [0, 1). `f32` of the shape.
pub(super) fn uniform(purpose: &str, shape: &[i64]) -> Tensor {
    let n: i64 = shape.iter().product();
    let mut values = vec![0.0_f32; usize::try_from(n).unwrap_or(0)];
    stream(purpose).fill_uniform_f32(0, &mut values);
    Tensor::from_slice(&values).reshape(shape)
}

/// Standard normal draws. `f32` of the shape.
pub(super) fn normal(purpose: &str, shape: &[i64]) -> Tensor {
    let n: i64 = shape.iter().product();
    let stream = stream(purpose);
    let values: Vec<f32> = (0..n.unsigned_abs())
        .map(|i| stream.normal_at(i) as f32)
        .collect();
    Tensor::from_slice(&values).reshape(shape)
}

/// Integers in `0..below`. `i64` of the shape.
pub(super) fn integers(purpose: &str, below: u64, shape: &[i64]) -> Tensor {
    let n: i64 = shape.iter().product();
    let stream = stream(purpose);
    let values: Vec<i64> = (0..n.unsigned_abs())
        .map(|i| i64::try_from(stream.below_at(i, below)).unwrap_or(0))
        .collect();
    Tensor::from_slice(&values).reshape(shape)
}

/// A copy of a tensor in the middle of a larger buffer: the margins show writes outside it.
pub(super) struct Guarded {
    buffer: Tensor,
    before: Tensor,
    shape: Vec<i64>,
}

impl Guarded {
    pub(super) fn new(tensor: &Tensor) -> Self {
        let flat = tensor.reshape([-1]);
        let margin = Tensor::full([MARGIN], 85, (tensor.kind(), tensor.device()));
        let buffer = Tensor::cat(&[&margin, &flat, &margin], 0);
        Self {
            before: buffer.copy(),
            buffer,
            shape: tensor.size(),
        }
    }

    /// The tensor, sharing the buffer's memory.
    pub(super) fn view(&self) -> Tensor {
        let n = self.buffer.numel() as i64 - 2 * MARGIN;
        self.buffer.narrow(0, MARGIN, n).view(self.shape.as_slice())
    }

    /// An input must come back as it was, margins included.
    pub(super) fn unchanged(&self, what: &str) -> Checked {
        ensure(same_bits(&self.buffer, &self.before), || {
            format!("`{what}`, an input, is changed")
        })
    }

    /// Nothing may be written outside an output.
    pub(super) fn margins_unchanged(&self, what: &str) -> Checked {
        let n = self.buffer.numel() as i64;
        let side = |start: i64| {
            let part = |tensor: &Tensor| tensor.narrow(0, start, MARGIN);
            same_bits(&part(&self.buffer), &part(&self.before))
        };
        ensure(side(0) && side(n - MARGIN), || {
            format!("memory outside `{what}` is written")
        })
    }
}

/// Whether two tensors hold the same bits; NaN equals itself.
pub(super) fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    if a.size() != b.size() || a.kind() != b.kind() {
        return false;
    }
    let bits = |tensor: &Tensor| match tensor.kind() {
        Kind::Float => tensor.contiguous().view_dtype(Kind::Int),
        Kind::BFloat16 | Kind::Half => tensor.contiguous().view_dtype(Kind::Int16),
        Kind::Double => tensor.contiguous().view_dtype(Kind::Int64),
        _ => tensor.shallow_clone(),
    };
    bits(a).equal(&bits(b))
}

pub(super) fn max_abs(a: &Tensor, b: &Tensor) -> f64 {
    if a.numel() == 0 {
        return 0.0;
    }
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_outside_an_output_shows() {
        let out = Guarded::new(&normal("test", &[3, 4]));
        let mut view = out.view();
        let _ = view.fill_(2.0);
        assert!(out.margins_unchanged("x").is_ok());
        assert!(
            out.unchanged("x").is_err(),
            "an input may not be written at all"
        );
        let n = out.buffer.size()[0];
        let _ = out.buffer.narrow(0, n - MARGIN, 1).fill_(1.0);
        assert!(out.margins_unchanged("x").is_err());
    }

    #[test]
    fn bits_are_compared_and_not_values() {
        let of = |x: f32| Tensor::from_slice(&[x]);
        assert!(same_bits(&of(f32::NAN), &of(f32::NAN)));
        assert!(!same_bits(&of(0.0), &of(-0.0)));
        assert!(!same_bits(&of(0.0), &of(0.0).to_kind(Kind::Double)));
        let half = |x: f32| of(x).to_kind(Kind::BFloat16);
        assert!(same_bits(&half(1.5), &half(1.5)) && !same_bits(&half(1.5), &half(2.5)));
    }

    #[test]
    fn draws_are_repeatable_and_their_own() {
        let a = uniform("a", &[2, 3]);
        assert!(same_bits(&a, &uniform("a", &[2, 3])));
        assert!(!same_bits(&a, &uniform("b", &[2, 3])));
        assert!(
            max_abs(
                &integers("a", 7, &[50]),
                &Tensor::zeros([50], (Kind::Int64, tch::Device::Cpu))
            ) < 7.0
        );
    }
}
