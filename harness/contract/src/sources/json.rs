use std::{
    io,
    path::{Path, PathBuf},
};

use harness_weights::{InputError, default_size, read_text};
use serde_json::{Map, Value};

use crate::{exit, hash::HashError};

/// A configuration file larger than this is not one.
pub const MAX_JSON_BYTES: u64 = 4 << 20;

/// A folder or file given to the harness that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
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
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A file is not what its name says.
    #[error("{}: {message}", path.display())]
    Unusable {
        path: PathBuf,
        /// What is wrong with it, and the cure.
        message: String,
    },
    /// Content could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
}

impl From<InputError> for SourceError {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Io { path, source } => SourceError::Io { path, source },
            InputError::Unusable { path, message } => SourceError::Unusable { path, message },
        }
    }
}

impl SourceError {
    /// Exit code of a run that ends for this reason.
    pub const fn exit_code(&self) -> u8 {
        exit::BAD_INPUT
    }

    pub fn unusable(path: &Path, message: impl Into<String>) -> SourceError {
        SourceError::Unusable {
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

/// A JSON object read from a file, with its path for messages.
pub struct JsonFile {
    pub path: PathBuf,
    pub object: Map<String, Value>,
}

impl JsonFile {
    /// Read a file that must hold a JSON object.
    pub fn read(path: &Path) -> Result<JsonFile, SourceError> {
        let text = read_text(path, MAX_JSON_BYTES)?;
        match serde_json::from_str(&text) {
            Ok(Value::Object(object)) => Ok(JsonFile {
                path: path.to_owned(),
                object,
            }),
            Ok(_) => Err(SourceError::unusable(path, "is not a JSON object")),
            Err(error) => Err(SourceError::unusable(
                path,
                format!("is not valid JSON: {error}"),
            )),
        }
    }

    /// The first of some keys that holds a positive whole number.
    pub fn optional(&self, keys: &[&str]) -> Option<u64> {
        keys.iter()
            .find_map(|key| self.object.get(*key)?.as_u64())
            .filter(|n| *n > 0)
    }

    /// Like [`JsonFile::optional`]; where none of the keys is there, what the family's own
    /// configuration takes for one of them.
    pub fn size(&self, model_type: &str, keys: &[&str]) -> Result<u64, SourceError> {
        let is_absent = keys.iter().all(|key| !self.object.contains_key(*key));
        let default = || {
            let known = keys.iter().find_map(|key| default_size(model_type, key));
            known.filter(|_| is_absent)
        };
        let found = self.optional(keys).or_else(default);
        found.map_or_else(|| self.required(keys), Ok)
    }

    /// Like [`JsonFile::optional`], an error when there is none.
    pub fn required(&self, keys: &[&str]) -> Result<u64, SourceError> {
        self.optional(keys).ok_or_else(|| {
            let message = format!("has no positive whole number `{}`", keys.join("` or `"));
            SourceError::unusable(&self.path, message)
        })
    }
}
