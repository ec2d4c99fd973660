use std::{
    fs,
    path::{Path, PathBuf},
};

use harness_weights::{InputError, check_folder, is_checkpoint_file, read_object};
use serde_json::Value;

use super::ModelFacts;
use crate::{hash::HashCache, sanitize::one_line};

/// A configuration file larger than this is not one.
pub const MAX_JSON_BYTES: u64 = 4 << 20;
/// Characters of a name from a configuration that are shown.
const MAX_NAME_CHARS: usize = 80;

/// A checkpoint folder in the Hugging Face layout, as far as every family has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub dir: PathBuf,
    /// `model_type` of config.json: decides which adapter reads it.
    pub model_type: String,
    /// Bytes of its weight files.
    pub weight_bytes: u64,
    /// `_name_or_path` of config.json, where it holds one.
    stated_name: Option<String>,
}

/// A checkpoint and what its adapter says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFolder {
    pub checkpoint: Checkpoint,
    pub facts: ModelFacts,
}

impl Checkpoint {
    /// Read a folder; `what` names the model in messages.
    ///
    /// # Errors
    /// When it is missing, or its config.json is not one.
    pub fn read(what: &str, dir: &Path) -> Result<Checkpoint, InputError> {
        if !dir.is_dir() {
            let hint = format!("give it with --model {what}=DIR");
            return Err(InputError::not_a_folder(what, dir, hint));
        }
        check_folder(dir)?;
        let path = dir.join("config.json");
        let config = read_object(&path, MAX_JSON_BYTES)?;
        let text = |key: &str| config.get(key).and_then(Value::as_str).map(str::to_owned);
        let model_type = text("model_type").ok_or_else(|| {
            InputError::unusable(
                &path,
                "has no `model_type`; it is not a Hugging Face model configuration",
            )
        })?;
        Ok(Checkpoint {
            dir: dir.to_owned(),
            model_type,
            weight_bytes: weight_bytes(dir)?,
            stated_name: text("_name_or_path").filter(|name| !name.is_empty()),
        })
    }

    /// What it is called: its folder's name, that of its repository where it lies in the Hub's
    /// cache (`models--Qwen--Qwen2.5-7B/snapshots/…`), and the name its configuration keeps.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.names_of_folder();
        names.extend(self.stated_name.clone());
        names.dedup();
        names
    }

    /// The name of its folder, or of its repository where the folder is a snapshot in a hub's
    /// cache.
    pub fn own_name(&self) -> String {
        one_line(&self.names_of_folder().pop().unwrap_or_default())
    }

    /// What its configuration calls it (`_name_or_path`), where that is a name and no path.
    pub fn config_name(&self) -> Option<String> {
        let name = (self.stated_name.as_ref()).filter(|name| !name.starts_with(['/', '.', '~']))?;
        Some(one_line(
            &name.chars().take(MAX_NAME_CHARS).collect::<String>(),
        ))
    }

    /// Its folder's name, and last that of its repository where it lies in the Hub's cache.
    fn names_of_folder(&self) -> Vec<String> {
        let path = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        let names = path.ancestors().enumerate().take(3);
        let names = names.filter_map(|(i, folder)| {
            let name = folder.file_name()?.to_string_lossy();
            match name.strip_prefix("models--") {
                Some(repository) => Some(repository.replace("--", "/")),
                None => (i == 0).then(|| name.into_owned()),
            }
        });
        names.collect()
    }

    /// Content hash of everything in the folder that an adapter may read.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn hash(&self, cache: &mut HashCache) -> Result<String, InputError> {
        cache.folder(&self.dir, is_checkpoint_file)
    }
}

impl ModelFolder {
    /// Numbers in its weights: files hold two bytes a number. Without files, those of the matrices
    /// that its adapter describes.
    pub fn numbers(&self) -> u64 {
        match self.checkpoint.weight_bytes {
            0 => self.facts.shape(1).numbers(),
            bytes => bytes / 2,
        }
    }
}

impl std::ops::Deref for ModelFolder {
    type Target = ModelFacts;

    fn deref(&self) -> &ModelFacts {
        &self.facts
    }
}

fn weight_bytes(dir: &Path) -> Result<u64, InputError> {
    let io = InputError::io(dir);
    let mut sum = 0;
    for entry in fs::read_dir(dir).map_err(&io)? {
        let path = entry.map_err(&io)?.path();
        if path.extension().is_some_and(|end| end == "safetensors") {
            let meta = fs::metadata(&path).map_err(InputError::io(&path))?;
            sum += meta.len();
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests;
