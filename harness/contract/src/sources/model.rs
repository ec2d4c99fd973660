use std::{
    fs,
    path::{Path, PathBuf},
};

use harness_core::grid::ModelShape;
use harness_weights::{InputError, check_folder, is_checkpoint_file};
use serde_json::Value;

use crate::{
    hash::HashCache,
    sanitize::one_line,
    sources::{family, json::JsonFile},
};

/// A checkpoint folder in the Hugging Face layout, as far as config.json and file sizes tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFolder {
    pub dir: PathBuf,
    /// `model_type` of config.json: decides which adapter reads it.
    pub model_type: String,
    /// Blocks.
    pub n_layers: u32,
    /// Width of the residual stream.
    pub d_model: u32,
    /// Width of the feed-forward layer, where config.json says it.
    pub d_ff: u32,
    /// Width of the keys of all heads together.
    pub d_kv: u32,
    /// Matrices of the feed-forward layer: 3 with a gate, else 2.
    pub n_ff: u32,
    /// Rows of the output head.
    pub vocab_size: u32,
    /// Whether it is a masked-diffusion model: config.json names a mask token.
    pub is_diffusion: bool,
    /// Bytes of its weight files.
    pub weight_bytes: u64,
    /// `_name_or_path` of config.json, where it holds one.
    stated_name: Option<String>,
}

/// Characters of a name from a configuration that are shown.
const MAX_NAME_CHARS: usize = 80;

impl ModelFolder {
    /// Read a folder.
    ///
    /// # Errors
    /// When it is missing, or its config.json is not one.
    pub fn read(what: &str, dir: &Path) -> Result<ModelFolder, InputError> {
        if !dir.is_dir() {
            let hint = format!("give it with --model {what}=DIR");
            return Err(InputError::not_a_folder(what, dir, hint));
        }
        check_folder(dir)?;
        let config = JsonFile::read(&dir.join("config.json"))?;
        let model_type = config
            .object
            .get("model_type")
            .and_then(|v| v.as_str())
            .ok_or_else(|| {
                InputError::unusable(
                    &config.path,
                    "has no `model_type`; it is not a Hugging Face model configuration",
                )
            })?;
        let narrow = |n: u64| {
            u32::try_from(n).map_err(|_| {
                InputError::unusable(&config.path, format!("holds {n}, too large for a size"))
            })
        };
        let size = |keys: &[&str]| config.size(model_type, keys);
        let d_model = narrow(size(&["hidden_size", "d_model", "n_embd"])?)?;
        let heads = size(&["num_attention_heads", "n_heads", "n_head"]).unwrap_or(1);
        let kv_heads = size(&["num_key_value_heads", "n_kv_heads"]).unwrap_or(heads);
        let d_kv = match config.optional(&["head_dim"]) {
            Some(width) => kv_heads.saturating_mul(width),
            None => kv_heads.saturating_mul(u64::from(d_model)) / heads,
        };
        let ratio = size(&["mlp_ratio"]).unwrap_or(4);
        let d_ff = size(&["intermediate_size", "mlp_hidden_size", "n_inner"])
            .unwrap_or(ratio.saturating_mul(u64::from(d_model)));
        Ok(ModelFolder {
            dir: dir.to_owned(),
            model_type: model_type.to_owned(),
            n_layers: narrow(size(&["num_hidden_layers", "n_layers", "n_layer"])?)?,
            d_model,
            d_ff: narrow(d_ff)?,
            d_kv: narrow(d_kv)?,
            n_ff: family::n_ff(model_type),
            vocab_size: narrow(size(&["embedding_size", "vocab_size"])?)?,
            is_diffusion: match config.object.get("mask_token_id") {
                Some(id) => id.is_u64(),
                None => harness_weights::default_size(model_type, "mask_token_id").is_some(),
            },
            weight_bytes: weight_bytes(dir)?,
            stated_name: (config.object.get("_name_or_path"))
                .and_then(Value::as_str)
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        })
    }

    /// What its family calls the list of its blocks, where the family is known.
    pub fn blocks(&self) -> Option<&'static str> {
        family::blocks(&self.model_type)
    }

    /// Whether the logits of a position score the next one although the model reads both sides, so
    /// that the authors' script, which never shifts, scores by others.
    pub fn is_shifted(&self) -> bool {
        self.is_diffusion && family::is_shifted(&self.model_type)
    }

    /// Of `new` masked positions, those that each of `steps` denoising steps reveals. What an order
    /// makes of it differs little; one that ends early takes less.
    pub fn revealed(&self, new: usize, steps: usize) -> Vec<usize> {
        family::revealed(&self.model_type, new, steps)
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

    /// Numbers in its weights: files hold two bytes a number. Without files, those of the matrices
    /// that the configuration describes.
    pub fn numbers(&self) -> u64 {
        match self.weight_bytes {
            0 => self.shape(1).numbers(),
            bytes => bytes / 2,
        }
    }

    /// Its sizes, with numbers of `dtype_bytes` bytes.
    pub fn shape(&self, dtype_bytes: u64) -> ModelShape {
        ModelShape {
            n_layers: u64::from(self.n_layers),
            d_model: u64::from(self.d_model),
            d_kv: u64::from(self.d_kv),
            d_ff: u64::from(self.d_ff),
            n_ff: u64::from(self.n_ff),
            vocab_size: u64::from(self.vocab_size),
            dtype_bytes,
        }
    }

    /// Content hash of everything in the folder that an adapter may read.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn checkpoint_hash(&self, cache: &mut HashCache) -> Result<String, InputError> {
        cache.folder(&self.dir, is_checkpoint_file)
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
