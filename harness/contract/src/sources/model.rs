use std::{
    fs,
    path::{Path, PathBuf},
};

use harness_core::grid::ModelShape;
use harness_weights::{check_folder, is_checkpoint_file, not_a_folder};
use serde_json::Value;

use crate::{
    hash::HashCache,
    sanitize::one_line,
    sources::{JsonFile, SourceError},
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
    pub fn read(what: &str, dir: &Path) -> Result<ModelFolder, SourceError> {
        if !dir.is_dir() {
            return Err(SourceError::NotAFolder {
                what: what.to_owned(),
                path: dir.to_owned(),
                found: not_a_folder(dir),
                hint: format!("give it with --model {what}=DIR"),
            });
        }
        check_folder(dir)?;
        let config = JsonFile::read(&dir.join("config.json"))?;
        let model_type = config
            .object
            .get("model_type")
            .and_then(|v| v.as_str())
            .ok_or_else(|| {
                SourceError::unusable(
                    &config.path,
                    "has no `model_type`; it is not a Hugging Face model configuration",
                )
            })?;
        let narrow = |n: u64| {
            u32::try_from(n).map_err(|_| {
                SourceError::unusable(&config.path, format!("holds {n}, too large for a size"))
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
            n_ff: if model_type == "gpt2" { 2 } else { 3 },
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

    /// Numbers in its weights: files hold two bytes a number. Without files, those of the matrices that the configuration describes.
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
    pub fn checkpoint_hash(&self, cache: &mut HashCache) -> Result<String, SourceError> {
        Ok(cache.folder(&self.dir, is_checkpoint_file)?)
    }
}

fn weight_bytes(dir: &Path) -> Result<u64, SourceError> {
    let io = |source| SourceError::Io {
        path: dir.to_owned(),
        source,
    };
    let mut sum = 0;
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|end| end == "safetensors") {
            let meta = fs::metadata(&path).map_err(|source| SourceError::Io { path, source })?;
            sum += meta.len();
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(config: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), config).unwrap();
        dir
    }

    fn error(config: &str) -> String {
        ModelFolder::read("dream", folder(config).path())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_families_configurations() {
        let dream = r#"{"model_type":"Dream","hidden_size":64,"num_hidden_layers":5,"vocab_size":512,"mask_token_id":468,"intermediate_size":176}"#;
        let m = ModelFolder::read("dream", folder(dream).path()).unwrap();
        assert_eq!(
            (m.n_layers, m.d_model, m.d_ff, m.vocab_size, m.is_diffusion),
            (5, 64, 176, 512, true)
        );
        let llada = r#"{"model_type":"llada","d_model":64,"n_layers":5,"vocab_size":500,"embedding_size":512,"mlp_hidden_size":200,"mask_token_id":468}"#;
        let m = ModelFolder::read("llada", folder(llada).path()).unwrap();
        assert_eq!((m.d_ff, m.vocab_size, m.is_diffusion), (200, 512, true));
        let gpt2 =
            r#"{"model_type":"gpt2","n_embd":64,"n_layer":3,"vocab_size":512,"n_inner":null}"#;
        let m = ModelFolder::read("gpt2", folder(gpt2).path()).unwrap();
        assert_eq!((m.d_ff, m.n_layers, m.is_diffusion), (256, 3, false));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert!(error("{").contains("not valid JSON"));
        assert!(error("[]").contains("not a JSON object"));
        assert!(error("{}").contains("no `model_type`"));
        assert!(
            error(r#"{"model_type":"x","hidden_size":0}"#).contains("`hidden_size` or `d_model`")
        );
        assert!(
            error("version https://git-lfs.github.com/spec/v1\noid x").contains("Git LFS pointer")
        );
        assert!(error("<!DOCTYPE html><html>").contains("a web page"));
        let missing = ModelFolder::read("dream", Path::new("no/such")).unwrap_err();
        assert!(missing.to_string().contains("--model dream=DIR"));
        assert_eq!(missing.exit_code(), 20);
    }

    #[test]
    fn names_are_those_of_the_repository_and_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = dir.path().join("models--Qwen--Qwen2.5-7B/snapshots/abc");
        fs::create_dir_all(&snapshot).unwrap();
        let read = |name: &str| {
            let config = format!(
                r#"{{"model_type":"x","hidden_size":1,"num_hidden_layers":1,"vocab_size":1,"_name_or_path":"{name}"}}"#
            );
            fs::write(snapshot.join("config.json"), config).unwrap();
            ModelFolder::read("x", &snapshot).unwrap()
        };
        let model = read("Qwen/base");
        assert_eq!(model.own_name(), "Qwen/Qwen2.5-7B");
        assert_eq!(model.config_name().as_deref(), Some("Qwen/base"));
        assert_eq!(model.names(), ["abc", "Qwen/Qwen2.5-7B", "Qwen/base"]);
        for path in ["", "/data/models", "./here"] {
            assert_eq!(read(path).config_name(), None, "{path}");
        }
    }

    #[test]
    fn the_hash_covers_weights_and_tokenizers_and_no_prose() {
        let dir =
            folder(r#"{"model_type":"x","hidden_size":1,"num_hidden_layers":1,"vocab_size":1}"#);
        let hash = || {
            let model = ModelFolder::read("x", dir.path()).unwrap();
            model.checkpoint_hash(&mut HashCache::in_memory()).unwrap()
        };
        let first = hash();
        fs::write(dir.path().join("README.md"), "words").unwrap();
        assert_eq!(hash(), first);
        fs::write(dir.path().join("merges.txt"), "a b").unwrap();
        let second = hash();
        assert_ne!(second, first);
        fs::write(dir.path().join("model.safetensors"), "1234").unwrap();
        assert_ne!(hash(), second);
        assert_eq!(ModelFolder::read("x", dir.path()).unwrap().weight_bytes, 4);
    }
}
