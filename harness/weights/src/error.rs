use std::{
    io,
    path::{Path, PathBuf},
};

use crate::not_a_folder;

/// Result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, InputError>;

/// A file or folder from outside that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// What was given for the folder of a checkpoint or of an SAE set is none.
    #[error("{what}: {}: {found}; {hint}", path.display())]
    NotAFolder {
        /// What it was to be.
        what: String,
        /// What was given.
        path: PathBuf,
        /// What it is instead.
        found: String,
        /// What would cure it.
        hint: String,
    },
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
    /// What a plugin has said of it, path, cause and cure.
    #[error("{0}")]
    Told(String),
}

impl InputError {
    /// A path that was to be the folder of `what` and is none; `hint` says how to give another.
    pub fn not_a_folder(what: impl Into<String>, path: &Path, hint: impl Into<String>) -> Self {
        Self::NotAFolder {
            what: what.into(),
            path: path.to_owned(),
            found: not_a_folder(path),
            hint: hint.into(),
        }
    }

    /// A file or folder that is not what its name or place says; `message` ends with the cure.
    pub fn unusable(path: &Path, message: impl Into<String>) -> Self {
        Self::Unusable {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    /// Names the path that could not be read, for `map_err`.
    pub fn io(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            path: path.clone(),
            source,
        }
    }
}
