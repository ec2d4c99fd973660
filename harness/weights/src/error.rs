use std::{
    io,
    path::{Path, PathBuf},
};

/// Result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, InputError>;

/// A file or folder from outside that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// It is not what its name or place says.
    #[error("{}: {message}", path.display())]
    Unusable {
        path: PathBuf,
        /// What is wrong with it, and the cure.
        message: String,
    },
}

impl InputError {
    pub(crate) fn unusable(path: &Path, message: impl Into<String>) -> Self {
        Self::Unusable {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    /// Names the path that could not be read, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            path: path.clone(),
            source,
        }
    }
}
