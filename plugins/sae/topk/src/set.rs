//! SAE sets on disk: which layers and budgets a folder holds. Reads names and configurations, never weights.
//!
//! The released layout is `<set>/resid_post_layer_{L}/trainer_{i}/`, with the files of any supported layout
//! inside; `layers.{L}/` (sparsify) and SAEs directly inside a layer's folder are found as well.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Layout of an SAE's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// `cfg.json` and `sae_weights.safetensors`.
    Saelens,
    /// `cfg.json` and `sae.safetensors`.
    Sparsify,
    /// `config.json` and `ae.pt`.
    DictionaryLearning,
    /// `autoencoder.pt`.
    OpenAi,
}

impl Format {
    /// All layouts.
    pub const ALL: [Self; 4] = [
        Self::Saelens,
        Self::Sparsify,
        Self::DictionaryLearning,
        Self::OpenAi,
    ];

    /// Name in results and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Saelens => "saelens",
            Self::Sparsify => "sparsify",
            Self::DictionaryLearning => "dictionary_learning",
            Self::OpenAi => "openai",
        }
    }

    /// File of the weights.
    #[must_use]
    pub const fn weights_file(self) -> &'static str {
        match self {
            Self::Saelens => "sae_weights.safetensors",
            Self::Sparsify => "sae.safetensors",
            Self::DictionaryLearning => "ae.pt",
            Self::OpenAi => "autoencoder.pt",
        }
    }

    /// File of the configuration, where the layout has one.
    #[must_use]
    pub const fn config_file(self) -> Option<&'static str> {
        match self {
            Self::Saelens | Self::Sparsify => Some("cfg.json"),
            Self::DictionaryLearning => Some("config.json"),
            Self::OpenAi => None,
        }
    }
}

/// The layouts whose weights lie directly in a folder.
#[must_use]
pub fn formats_in(dir: &Path) -> Vec<Format> {
    Format::ALL
        .into_iter()
        .filter(|f| dir.join(f.weights_file()).is_file())
        .collect()
}

/// One SAE of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetEntry {
    /// Block whose output it reads.
    pub layer: u64,
    /// Active budget, from its configuration.
    pub k: u64,
    /// Its folder.
    pub path: PathBuf,
    /// Its layout.
    pub format: Format,
}

/// Why a folder is not a set.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct SetError {
    /// Folder or file at fault.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub what: String,
}

fn fault(path: &Path, what: impl Into<String>) -> SetError {
    SetError {
        path: path.to_path_buf(),
        what: what.into(),
    }
}

/// Lists a set by layer, then `k`.
///
/// `dir` holds the layers' folders, or exactly one folder that does (as the released repositories have).
///
/// # Errors
/// No SAE in the folder, several sets in it, a configuration that cannot be read, or two SAEs of one layer and `k`.
pub fn list_set(dir: &Path) -> Result<Vec<SetEntry>, SetError> {
    let mut layers = layer_folders(dir)?;
    if layers.is_empty() {
        let mut inner = Vec::new();
        for folder in folders(dir)? {
            let found = layer_folders(&folder)?;
            if !found.is_empty() {
                inner.push((folder, found));
            }
        }
        layers = match inner.len() {
            0 => {
                return Err(fault(
                    dir,
                    "no `resid_post_layer_{L}` folder: not an SAE set",
                ));
            }
            1 => inner.remove(0).1,
            _ => {
                let names: Vec<String> =
                    inner.iter().map(|(p, _)| p.display().to_string()).collect();
                return Err(fault(
                    dir,
                    format!("several SAE sets, give one of: {}", names.join(", ")),
                ));
            }
        };
    }
    let mut entries = Vec::new();
    for (layer, folder) in layers {
        let mut places = vec![folder.clone()];
        places.extend(
            folders(&folder)?
                .into_iter()
                .filter(|p| numbered(p, "trainer_").is_some()),
        );
        for place in places {
            entries.extend(entry(layer, place)?);
        }
    }
    entries.sort_by_key(|e| (e.layer, e.k));
    for pair in entries.windows(2) {
        if (pair[0].layer, pair[0].k) == (pair[1].layer, pair[1].k) {
            return Err(fault(
                &pair[1].path,
                format!(
                    "layer {} with k {} is there twice, also in {}",
                    pair[1].layer,
                    pair[1].k,
                    pair[0].path.display()
                ),
            ));
        }
    }
    if entries.is_empty() {
        return Err(fault(
            dir,
            "folders of layers, but no SAE in them; download incomplete?",
        ));
    }
    Ok(entries)
}

/// The SAE directly inside a folder, if any.
fn entry(layer: u64, place: PathBuf) -> Result<Option<SetEntry>, SetError> {
    let formats = formats_in(&place);
    let format = match formats[..] {
        [] => return Ok(None),
        [one] => one,
        _ => return Err(fault(&place, "SAEs of several layouts in one folder")),
    };
    let Some(config) = format.config_file() else {
        return Err(fault(
            &place,
            "this layout holds no `k` outside its weights, so it cannot be part of a set",
        ));
    };
    let config = place.join(config);
    let text = fs::read_to_string(&config).map_err(|e| fault(&config, e.to_string()))?;
    let json: Value = serde_json::from_str(&text).map_err(|e| fault(&config, e.to_string()))?;
    let k = budget(format, &json).ok_or_else(|| fault(&config, "no `k`"))?;
    Ok(Some(SetEntry {
        layer,
        k,
        path: place,
        format,
    }))
}

/// `k` of a configuration.
pub(crate) fn budget(format: Format, json: &Value) -> Option<u64> {
    match format {
        Format::Saelens => json
            .get("k")
            .or_else(|| json.pointer("/activation_fn_kwargs/k")),
        Format::Sparsify => json.get("k"),
        Format::DictionaryLearning => json.pointer("/trainer/k"),
        Format::OpenAi => None,
    }
    .and_then(Value::as_u64)
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>, SetError> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir).map_err(|e| fault(dir, e.to_string()))? {
        let path = item.map_err(|e| fault(dir, e.to_string()))?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn layer_folders(dir: &Path) -> Result<Vec<(u64, PathBuf)>, SetError> {
    Ok(folders(dir)?
        .into_iter()
        .filter_map(|p| layer_of_folder(&p).map(|l| (l, p)))
        .collect())
}

/// Layer that a folder's own name states.
pub(crate) fn layer_of_folder(path: &Path) -> Option<u64> {
    numbered(path, "resid_post_layer_").or_else(|| numbered(path, "layers."))
}

fn numbered(path: &Path, prefix: &str) -> Option<u64> {
    path.file_name()?
        .to_str()?
        .strip_prefix(prefix)?
        .parse()
        .ok()
}
