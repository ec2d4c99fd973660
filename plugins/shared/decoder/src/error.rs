//! What can go wrong, each with the operands and a hint.

use std::path::{Path, PathBuf};

use harness_kernels::KernelError;
use harness_weights::InputError;

/// An error of the decoder library.
#[derive(Debug, thiserror::Error)]
pub enum DecoderError {
    /// A file could not be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    /// `config.json` (or a configuration built in code) cannot be used.
    #[error("{origin}: {message}")]
    Config {
        /// The file, or "model configuration".
        origin: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// `model_type` names a family that no adapter here implements.
    #[error(
        "{origin}: no adapter for model_type \"{model_type}\"; remote code is never run. Adapters available: {available}"
    )]
    UnknownFamily {
        /// The file that named it.
        origin: String,
        /// The name found.
        model_type: String,
        /// Families that can be loaded.
        available: String,
    },
    /// The folder holds another family than the one asked for.
    #[error(
        "{origin}: model_type \"{found}\" is not what the adapter \"{wanted}\" reads; use the adapter \"{found_adapter}\""
    )]
    WrongFamily {
        /// The file that named it.
        origin: String,
        /// The adapter that was asked to load it.
        wanted: &'static str,
        /// The `model_type` of the file.
        found: String,
        /// The adapter that reads it.
        found_adapter: &'static str,
    },
    /// A file or folder is not what its name says, or is damaged.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Tensors are missing, unexpected, or of the wrong shape; the message holds a table.
    #[error("{origin}: the tensors do not fit the configuration\n{table}")]
    Parameters {
        /// The checkpoint folder or file.
        origin: String,
        /// `name | expected | found`, at most 20 lines.
        table: String,
    },
    /// A weight holds NaN or infinity.
    #[error(
        "{origin}: {count} of {total} values of {name} are NaN or infinite; download the checkpoint again, or pass --allow-nan to go on"
    )]
    NonFinite {
        /// The checkpoint folder or file.
        origin: String,
        /// The tensor.
        name: String,
        /// How many values are not finite.
        count: i64,
        /// How many values it has.
        total: i64,
    },
    /// An argument of a forward call does not fit the model or the context.
    #[error("{0}")]
    Argument(String),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl From<KernelError> for DecoderError {
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::Torch(error) => Self::Torch(error),
            other => Self::Argument(other.to_string()),
        }
    }
}

impl DecoderError {
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn config(origin: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config {
            origin: origin.into(),
            message: message.into(),
        }
    }

    pub(crate) fn weights(path: &Path, message: impl Into<String>) -> Self {
        Self::Input(InputError::unusable(path, message))
    }

    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::Argument(message.into())
    }

    /// True when libtorch ran out of memory, on a device or on the host.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Torch(error) if says_out_of_memory(&error.to_string()))
    }
}

/// Whether a message of libtorch is about memory; it has no error code for that.
pub(crate) fn says_out_of_memory(message: &str) -> bool {
    message.contains("out of memory") || message.contains("can't allocate memory")
}
