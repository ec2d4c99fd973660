use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{exit, hash::HashError};

/// A configuration file larger than this is not one.
pub(crate) const MAX_JSON_BYTES: u64 = 4 << 20;

/// A folder or file given to the harness that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The folder is not there.
    #[error("{what}: there is no folder {}; {hint}", path.display())]
    NoFolder {
        /// What it was to be.
        what: String,
        /// Where it was looked for.
        path: PathBuf,
        /// What would cure it.
        hint: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {message}", path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and the cure.
        message: String,
    },
    /// Content could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
}

impl SourceError {
    /// Exit code of a run that ends for this reason.
    pub const fn exit_code(&self) -> u8 {
        exit::BAD_INPUT
    }

    pub(crate) fn unusable(path: &Path, message: impl Into<String>) -> SourceError {
        SourceError::Unusable {
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

/// A JSON object read from a file, with its path for messages.
pub(super) struct JsonFile {
    pub path: PathBuf,
    pub object: Map<String, Value>,
}

impl JsonFile {
    /// Read a file that must hold a JSON object.
    pub fn read(path: &Path) -> Result<JsonFile, SourceError> {
        let bytes = read_small(path, MAX_JSON_BYTES)?;
        match serde_json::from_slice(&bytes) {
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

    /// Like [`JsonFile::optional`], an error when there is none.
    pub fn required(&self, keys: &[&str]) -> Result<u64, SourceError> {
        self.optional(keys).ok_or_else(|| {
            let message = format!("has no positive whole number `{}`", keys.join("` or `"));
            SourceError::unusable(&self.path, message)
        })
    }
}

/// The content of a file of settings that is not larger than `limit` and was downloaded.
pub(crate) fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, SourceError> {
    let io = |source| SourceError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let mut bytes = Vec::new();
    if len <= limit {
        // A device or a file that grows has more than it says.
        file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    }
    let len = len.max(bytes.len() as u64);
    if len > limit {
        let message =
            format!("has {len} bytes or more, over the limit of {limit} for a configuration");
        return Err(SourceError::unusable(path, message));
    }
    match misplaced(&bytes) {
        Some(message) => Err(SourceError::unusable(path, message)),
        None => Ok(bytes),
    }
}

/// What a file is when its download went wrong in one of the usual ways.
pub(crate) fn misplaced(bytes: &[u8]) -> Option<&'static str> {
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"version https://git-lfs") {
        return Some("is a Git LFS pointer, not the file: run `git lfs pull` in its repository");
    }
    let head: Vec<u8> = start.iter().take(14).map(u8::to_ascii_lowercase).collect();
    (head.starts_with(b"<!doctype html")
        || head.starts_with(b"<html")
        || head.starts_with(b"<?xml"))
    .then_some("is a web page, not the file: download it again (the file may need a login)")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// A device says that it has no bytes and was read until the memory was full.
    #[test]
    fn a_file_with_more_than_it_says_is_refused() {
        // Has some 1500 bytes and says 0.
        let path = Path::new("/proc/self/status");
        assert!(read_small(path, 1 << 20).is_ok());
        let error = read_small(path, 100).unwrap_err().to_string();
        assert!(error.contains("over the limit of 100"), "{error}");
    }
}
