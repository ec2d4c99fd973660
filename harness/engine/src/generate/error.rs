use crate::{plugin::PluginFailure, text::TextError};

/// A text that could not be generated or scored.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error(transparent)]
    Plugin(#[from] PluginFailure),
    #[error("tensor operation: {0}")]
    Tensor(#[from] tch::TchError),
    /// A fused operation refused its operands.
    #[error(transparent)]
    Kernel(#[from] harness_kernels::KernelError),
    #[error(transparent)]
    Text(#[from] TextError),
    /// A request that cannot be carried out.
    #[error("{0}")]
    Request(String),
    /// The model's logits are NaN or infinite where a token is to be chosen.
    #[error(
        "the logits of item {item} at position {position} are not finite (hint: try --dtype f32; a steering strength may be too large)"
    )]
    NotFinite {
        /// Key of the row.
        item: u64,
        /// Position in the row, padding not counted.
        position: usize,
    },
    /// What an observer reports.
    #[error("{0}")]
    Observer(Box<dyn std::error::Error + Send + Sync>),
}

impl GenerateError {
    pub(super) fn request(message: impl Into<String>) -> Self {
        Self::Request(message.into())
    }
}
