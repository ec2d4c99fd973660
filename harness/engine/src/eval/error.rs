//! What can go wrong while measuring.

use crate::plugin::PluginFailure;

/// A measurement that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    #[error(transparent)]
    Plugin(Box<PluginFailure>),
    #[error("tensor operation: {0}")]
    Tensor(#[from] tch::TchError),
    /// A kernel refused its operands.
    #[error(transparent)]
    Kernel(#[from] harness_kernels::KernelError),
    /// Operands that do not fit together.
    #[error("{0}")]
    Shape(String),
}

impl From<PluginFailure> for EvalError {
    fn from(failure: PluginFailure) -> Self {
        Self::Plugin(Box::new(failure))
    }
}
