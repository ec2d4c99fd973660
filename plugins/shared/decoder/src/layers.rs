//! The small pieces of a block.

use harness_kernels::linear;
use tch::Tensor;

use crate::Result;
use crate::config::Activation;

/// Layer norm over the last axis, with bias.
///
/// `x: [.., d], weight and bias: [d] -> [.., d]`
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Tensor {
    x.layer_norm(weight.size(), Some(weight), Some(bias), eps, true)
}

impl Activation {
    /// In place where libtorch can.
    pub(crate) fn apply(self, mut x: Tensor) -> Tensor {
        match self {
            Self::Silu => x.silu_(),
            Self::Gelu => x.gelu("none"),
            Self::GeluTanh => x.gelu("tanh"),
            Self::QuickGelu => (&x * 1.702).sigmoid_() * x,
            Self::Relu => x.relu_(),
        }
    }
}

/// A dense layer with its weight as [out, in].
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Tensor>,
}

impl Linear {
    /// `x: [.., in] -> [.., out]`
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(linear(x, &self.weight, self.bias.as_ref())?)
    }
}

/// A dense layer with its weight as [in, out], GPT-2's way.
#[derive(Debug)]
pub(crate) struct Conv1d {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
}

impl Conv1d {
    /// `x: [.., in] -> [.., out]`
    pub(crate) fn apply(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight.tr(), Some(&self.bias))
    }
}
