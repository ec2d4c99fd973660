//! What can be wrong with an SAE from outside: what, where, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use harness_kernels::KernelError;
use harness_weights::InputError;
use tch::TchError;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, SaeError>;

/// A failure to read, write, run or train an SAE.
#[derive(Debug, thiserror::Error)]
pub enum SaeError {
    /// A file is damaged, or not what its place says it is.
    #[error("{}: {what}", path.display())]
    File {
        path: PathBuf,
        /// What was found.
        what: String,
        hint: String,
    },
    /// A file is damaged, or not what its place says it is, as every reader says it.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The file is sound, but this reader cannot be certain what it computes.
    #[error("{}: not read, because {what}", path.display())]
    Uncertain {
        path: PathBuf,
        /// The setting that is not understood.
        what: String,
        hint: String,
    },
    /// Tensors are missing, too many, or of another shape or type.
    #[error("{}: tensors differ from what its configuration says\n{table}", path.display())]
    Tensors {
        path: PathBuf,
        /// Expected beside found.
        table: String,
    },
    /// Weights hold NaN or infinity.
    #[error("{}: tensor `{tensor}` holds {count} NaN or infinite value(s)", path.display())]
    NonFinite {
        path: PathBuf,
        tensor: String,
        count: i64,
    },
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        source: io::Error,
    },
    /// A caller's argument does not fit.
    #[error("{what}")]
    Argument {
        /// What does not fit, with the operands.
        what: String,
    },
    /// A trainer's configuration is wrong.
    #[error("configuration of the trainer: {what}")]
    Config {
        /// Every field at fault.
        what: String,
    },
    /// Training produced a loss that is not a finite number.
    #[error("step {step}: the loss is {loss}; the trainer is as it was before the step")]
    Diverged {
        /// Steps done before.
        step: u64,
        loss: f64,
    },
    /// This SAE does not offer the operation.
    #[error("{what}")]
    Unsupported {
        /// What is not offered and why.
        what: String,
    },
    /// A kernel refused its operands, or libtorch failed in it.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("libtorch: {0}")]
    Torch(#[from] TchError),
}

impl SaeError {
    pub(crate) fn file(path: &Path, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::File {
            path: path.to_path_buf(),
            what: what.into(),
            hint: hint.into(),
        }
    }

    pub(crate) fn uncertain(path: &Path, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Uncertain {
            path: path.to_path_buf(),
            what: what.into(),
            hint: hint.into(),
        }
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io {
            path,
            action,
            source,
        }
    }

    /// What to do about it; empty where nothing can be said.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            Self::File { hint, .. } | Self::Uncertain { hint, .. } => hint,
            Self::Tensors { .. } => {
                "check that configuration and weights come from the same download"
            }
            Self::NonFinite { .. } => "train or download it again, or pass --allow-nan to go on",
            Self::Diverged { .. } => "check the activations for NaN, or lower `lr`",
            _ => "",
        }
    }
}
