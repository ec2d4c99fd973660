//! A model folder: its configuration and where each tensor lies.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use tch::{Device, Kind, Tensor};

use super::fit::check_parameters;
use super::header::TensorFile;
use crate::config::{DecoderConfig, Family};
use crate::names::parameters;
use crate::{DecoderError, Result};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Largest JSON file read from a model folder.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// Whether NaN and infinity are accepted in weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonFinite {
    /// Refused, with the tensor and the count.
    Refuse,
    /// Loaded as they are.
    Allow,
}

/// Where and how weights are put.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Dtype of the model: Float, BFloat16 or Half.
    pub kind: Kind,
    /// Device of the model.
    pub device: Device,
    /// Whether NaN and infinity are accepted.
    pub non_finite: NonFinite,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            kind: Kind::Float,
            device: Device::Cpu,
            non_finite: NonFinite::Refuse,
        }
    }
}

/// An opened model folder: everything is checked except the values of the weights.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    config: DecoderConfig,
    files: Vec<TensorFile>,
    /// Tensors of the model: name -> (file, entry).
    places: BTreeMap<String, (usize, usize)>,
}

impl Checkpoint {
    /// Opens a folder with config.json and either model.safetensors or shards with their index.
    ///
    /// # Errors
    /// A missing or damaged file, an unknown family, an unsupported setting, tensors that do not fit the configuration.
    pub fn open(folder: &Path) -> Result<Self> {
        let config = DecoderConfig::from_folder(folder)?;
        let files = weight_files(folder)?;
        let mut places = BTreeMap::new();
        for (file, tensor_file) in files.iter().enumerate() {
            for (entry, tensor) in tensor_file.entries.iter().enumerate() {
                let name = plain_name(&config, &tensor.name);
                if is_ignored(&config, name) {
                    continue;
                }
                if let Some((first, _)) = places.insert(name.to_owned(), (file, entry)) {
                    let message = format!(
                        "{name} occurs again; it is already in {}",
                        files[first].path().display()
                    );
                    return Err(DecoderError::weights(tensor_file.path(), message));
                }
            }
        }
        let found = places
            .iter()
            .map(|(name, &(file, entry))| (name.clone(), files[file].entries[entry].shape.clone()));
        check_parameters(
            &folder.display().to_string(),
            &parameters(&config),
            &found.collect(),
        )?;
        Ok(Self {
            folder: folder.to_owned(),
            config,
            files,
            places,
        })
    }

    /// Sizes and rules.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// All tensors by checkpoint name (GPT-2 without `transformer.`), in the dtype and on the device asked for.
    ///
    /// # Errors
    /// A dtype that holds no weights, non-finite values unless allowed, or a device without room.
    pub fn tensors(&self, options: &LoadOptions) -> Result<HashMap<String, Tensor>> {
        let _guard = tch::no_grad_guard();
        let mut tensors = HashMap::new();
        for (name, &(file, entry)) in &self.places {
            let file = &self.files[file];
            let stored = file
                .tensor(&file.entries[entry])?
                .f_to_device(options.device)?;
            let tensor = stored.f_to_kind(options.kind)?;
            if options.non_finite == NonFinite::Refuse {
                self.check_finite(name, &tensor)?;
            }
            tensors.insert(name.clone(), tensor);
        }
        Ok(tensors)
    }

    fn check_finite(&self, name: &str, tensor: &Tensor) -> Result<()> {
        // NaN and infinity survive a sum, so one reduction clears a sound tensor; only a suspicious one is counted.
        if tensor.f_sum(Kind::Float)?.f_double_value(&[])?.is_finite() {
            return Ok(());
        }
        let count = tensor
            .f_isfinite()?
            .f_logical_not()?
            .f_sum(Kind::Int64)?
            .f_int64_value(&[])?;
        if count == 0 {
            return Ok(());
        }
        Err(DecoderError::NonFinite {
            origin: self.folder.display().to_string(),
            name: name.to_owned(),
            count,
            total: tensor.numel() as i64,
        })
    }
}

/// The dtype in which a folder's largest tensor is stored.
///
/// # Errors
/// Weights that are missing or damaged.
pub fn stored_kind(folder: &Path) -> Result<Kind> {
    let files = weight_files(folder)?;
    let entries = files.iter().flat_map(|file| &file.entries);
    let largest = entries
        .filter_map(|entry| Some((entry.kind()?, entry.shape.iter().product::<i64>())))
        .max_by_key(|(_, count)| *count);
    match largest {
        Some((kind, _)) => Ok(kind),
        None => Err(DecoderError::weights(
            folder,
            "the weight files hold no weights; download them again",
        )),
    }
}

/// Takes off the prefix under which GPT-2 files saved from the language-model class keep their tensors.
fn plain_name<'a>(config: &DecoderConfig, name: &'a str) -> &'a str {
    match config.family {
        Family::Gpt2 => name.strip_prefix("transformer.").unwrap_or(name),
        _ => name,
    }
}

/// Buffers that some files carry although they follow from the configuration, and heads that are tied.
fn is_ignored(config: &DecoderConfig, name: &str) -> bool {
    let gpt2_mask = || {
        let mut parts = name.split('.');
        parts.next() == Some("h")
            && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"))
    };
    (config.family == Family::Gpt2 && gpt2_mask())
        || name.ends_with("rotary_emb.inv_freq")
        || (config.tie_embeddings
            && matches!(name, "lm_head.weight" | "model.transformer.ff_out.weight"))
}

fn weight_files(folder: &Path) -> Result<Vec<TensorFile>> {
    let (single, index) = (folder.join(SINGLE), folder.join(INDEX));
    if single.exists() {
        return Ok(vec![TensorFile::open(&single)?]);
    }
    if !index.exists() {
        let pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json"]
            .iter()
            .any(|name| folder.join(name).exists());
        let hint = if pickled {
            "only pickled weights are here, which are never executed; convert them to safetensors"
        } else {
            "download the weights into this folder"
        };
        return Err(DecoderError::weights(
            folder,
            format!("holds neither {SINGLE} nor {INDEX}; {hint}"),
        ));
    }
    let text = read_json(&index)?;
    let Index {
        weight_map: WeightMap(weight_map),
    } = serde_json::from_str(&text)
        .map_err(|error| DecoderError::weights(&index, format!("not a weight index: {error}")))?;
    let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, shard) in &weight_map {
        shards.entry(shard).or_default().push(name);
    }
    if shards.is_empty() {
        return Err(DecoderError::weights(
            &index,
            "the index lists no tensor; download it again",
        ));
    }
    let mut files = Vec::new();
    for (shard, names) in shards {
        let mut parts = Path::new(shard).components();
        let plain = matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(_)), None)
        );
        if !plain || shard.contains('\\') {
            let message = format!(
                "the shard path \"{shard}\" leaves the folder; only plain file names are read"
            );
            return Err(DecoderError::weights(&index, message));
        }
        let path = folder.join(shard);
        if !path.exists() {
            let message = format!(
                "the shard {shard} ({} tensors) is missing; download it into the folder",
                names.len()
            );
            return Err(DecoderError::weights(&index, message));
        }
        let file = TensorFile::open(&path)?;
        let stored: std::collections::HashSet<&str> = file
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        if let Some(name) = names.iter().find(|name| !stored.contains(**name)) {
            let message = format!(
                "{name} should be in {shard}, which does not hold it; download the shard again"
            );
            return Err(DecoderError::weights(&index, message));
        }
        files.push(file);
    }
    Ok(files)
}

pub(crate) fn read_json(path: &Path) -> Result<String> {
    let size = std::fs::metadata(path)
        .map_err(|source| DecoderError::io(path, source))?
        .len();
    if size > MAX_JSON_BYTES {
        let message = format!("{size} bytes, the limit is {MAX_JSON_BYTES}");
        return Err(DecoderError::config(path.display().to_string(), message));
    }
    std::fs::read_to_string(path).map_err(|source| DecoderError::io(path, source))
}

#[derive(Deserialize)]
struct Index {
    weight_map: WeightMap,
}

/// Tensor -> shard, as a list, so that a repeated name is seen.
struct WeightMap(Vec<(String, String)>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = WeightMap;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensor names and shard file names")
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<WeightMap, A::Error> {
                let mut pairs = Vec::new();
                let mut names = std::collections::HashSet::new();
                while let Some((name, shard)) = map.next_entry::<String, String>()? {
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!(
                            "the name {name} occurs twice"
                        )));
                    }
                    pairs.push((name, shard));
                }
                Ok(WeightMap(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
