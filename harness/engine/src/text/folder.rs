//! Reading the small JSON files of a checkpoint folder, with size limits and honest messages for
//! what is not JSON.

use std::path::{Path, PathBuf};

use harness_weights::{LookAlike, plain_json};
use serde_json::Value;

use super::error::TextError;

/// Files that hold settings are kilobytes; this leaves room for a long chat template.
pub(super) const SETTINGS_LIMIT: u64 = 8 << 20;
/// The largest published vocabularies take some 35 MB.
pub(super) const VOCABULARY_LIMIT: u64 = 128 << 20;

/// The text of `path`, or `None` when there is no such file.
///
/// # Errors
/// [`TextError::TooLarge`] beyond `limit` bytes, [`TextError::NotJson`] when the bytes are not
/// UTF-8.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<Option<String>, TextError> {
    let io = |source| TextError::Io {
        path: path.to_owned(),
        source,
    };
    let size = match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => meta.len(),
        Ok(_) => return Err(io(std::io::Error::other("not a regular file"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io(source)),
    };
    if size > limit {
        return Err(TextError::TooLarge {
            path: path.to_owned(),
            size,
            limit,
        });
    }
    let bytes = std::fs::read(path).map_err(io)?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|error| TextError::NotJson {
            path: path.to_owned(),
            detail: format!(
                "not UTF-8 text: byte {} is not valid",
                error.utf8_error().valid_up_to()
            ),
        })
}

/// `path` as JSON, or `None` when there is no such file.
///
/// # Errors
/// As [`read_text`]; [`TextError::NotJson`] names line and column, a Git LFS pointer or a web page.
pub(super) fn read_json(path: &Path, limit: u64) -> Result<Option<Value>, TextError> {
    let Some(text) = read_text(path, limit)? else {
        return Ok(None);
    };
    let not_json = |detail: String| TextError::NotJson {
        path: path.to_owned(),
        detail,
    };
    if let Some(look_alike) = LookAlike::of(text.as_bytes()) {
        return Err(not_json(look_alike.message().to_owned()));
    }
    serde_json::from_str(&plain_json(&text))
        .map(Some)
        .map_err(|error| not_json(format!("not JSON: {error}")))
}

/// The files of one checkpoint folder that concern text.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub dir: PathBuf,
    /// `tokenizer_config.json`, an empty object when absent.
    pub tokenizer_config: Value,
    /// `special_tokens_map.json`.
    pub special_tokens_map: Option<Value>,
    /// `config.json` of the model.
    pub config: Option<Value>,
}

impl Folder {
    /// Opens `dir`; only settings are read, not the vocabulary.
    ///
    /// # Errors
    /// As [`read_json`]; [`TextError::NoTokenizer`] when `dir` is not a folder.
    pub fn open(dir: &Path) -> Result<Self, TextError> {
        if !dir.is_dir() {
            return Err(TextError::NoTokenizer(dir.to_owned()));
        }
        let json = |name: &str| read_json(&dir.join(name), SETTINGS_LIMIT);
        Ok(Self {
            dir: dir.to_owned(),
            tokenizer_config: json("tokenizer_config.json")?
                .unwrap_or_else(|| Value::Object(Default::default())),
            special_tokens_map: json("special_tokens_map.json")?,
            config: json("config.json")?,
        })
    }

    /// `vocab_size` of the model, for LLaDA the padded `embedding_size`: the number of rows an id
    /// may address.
    pub fn model_vocab_size(&self) -> Option<u64> {
        let config = self.config.as_ref()?;
        let of = |key: &str| config.get(key).and_then(Value::as_u64);
        of("vocab_size")
            .into_iter()
            .chain(of("embedding_size"))
            .max()
    }

    /// `mask_token_id` of the model's config.json.
    pub fn model_mask_id(&self) -> Option<u64> {
        self.config
            .as_ref()?
            .get("mask_token_id")
            .and_then(Value::as_u64)
    }

    /// `model_type` of the model's config.json.
    pub fn model_type(&self) -> Option<&str> {
        self.config.as_ref()?.get("model_type")?.as_str()
    }

    /// A setting of tokenizer_config.json that is true or false.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.tokenizer_config.get(name)?.as_bool()
    }

    /// Whether the folder names a tokenizer class of its own code, which is never run.
    pub fn has_own_class(&self) -> bool {
        !matches!(
            self.tokenizer_config.pointer("/auto_map/AutoTokenizer"),
            None | Some(Value::Null)
        )
    }

    /// Whether the reference loads its Python ("slow") tokenizer here: the folder names its own
    /// class and no fast one.
    pub fn uses_slow_class(&self) -> bool {
        match self.tokenizer_config.pointer("/auto_map/AutoTokenizer") {
            Some(Value::Array(classes)) => classes.get(1).is_none_or(Value::is_null),
            Some(Value::String(_)) => true,
            _ => false,
        }
    }
}

/// A token written as a string or as an object with `content`.
pub(super) fn token_content(value: &Value) -> Option<&str> {
    value
        .as_str()
        .or_else(|| value.get("content").and_then(Value::as_str))
}
