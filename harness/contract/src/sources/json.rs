use std::path::{Path, PathBuf};

use harness_weights::{InputError, default_size, read_object};
use serde_json::{Map, Value};

/// A configuration file larger than this is not one.
pub const MAX_JSON_BYTES: u64 = 4 << 20;

/// A JSON object read from a file, with its path for messages.
pub struct JsonFile {
    pub path: PathBuf,
    pub object: Map<String, Value>,
}

impl JsonFile {
    /// Read a file that must hold a JSON object.
    pub fn read(path: &Path) -> Result<JsonFile, InputError> {
        Ok(JsonFile {
            path: path.to_owned(),
            object: read_object(path, MAX_JSON_BYTES)?,
        })
    }

    /// The first of some keys that holds a positive whole number.
    pub fn optional(&self, keys: &[&str]) -> Option<u64> {
        keys.iter()
            .find_map(|key| self.object.get(*key)?.as_u64())
            .filter(|n| *n > 0)
    }

    /// Like [`JsonFile::optional`]; where none of the keys is there, what the family's own
    /// configuration takes for one of them.
    pub fn size(&self, model_type: &str, keys: &[&str]) -> Result<u64, InputError> {
        let is_absent = keys.iter().all(|key| !self.object.contains_key(*key));
        let default = || {
            let known = keys.iter().find_map(|key| default_size(model_type, key));
            known.filter(|_| is_absent)
        };
        let found = self.optional(keys).or_else(default);
        found.map_or_else(|| self.required(keys), Ok)
    }

    /// Like [`JsonFile::optional`], an error when there is none.
    pub fn required(&self, keys: &[&str]) -> Result<u64, InputError> {
        self.optional(keys).ok_or_else(|| {
            let message = format!("has no positive whole number `{}`", keys.join("` or `"));
            InputError::unusable(&self.path, message)
        })
    }
}
