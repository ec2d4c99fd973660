//! A model folder: its configuration and where each tensor lies.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use harness_weights::{StoredHead, Weights, read_weights, stored_head};
use tch::{Device, Kind, Tensor};

use super::fit::check_parameters;
use super::header::{TensorFile, kind, shape};
use crate::config::{DecoderConfig, Family};
use crate::names::{ParameterSpec, ends, parameters};
use crate::{DecoderError, Result};

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
    /// Where the configuration ties the head to the embedding and both are stored, what is stored
    /// counts, as in transformers 5: [`Self::config`] says whether the head is tied.
    ///
    /// # Errors
    /// A missing or damaged file, an unknown family, an unsupported setting, tensors that do not
    /// fit the configuration.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut config = DecoderConfig::from_folder(folder)?;
        let weights = weights(folder)?;
        let mut places = places(&config, &weights)?;
        settle_head(&mut config, &weights, &mut places)?;
        let specs = parameters(&config);
        check_index(&config, &specs, &weights, &places)?;
        let entry = |&(file, entry): &(usize, usize)| shape(&weights.files[file].tensors[entry]);
        let found = places.iter().map(|(name, at)| (name.clone(), entry(at)));
        check_parameters(&folder.display().to_string(), &specs, &found.collect())?;
        let files = weights.files.into_iter().map(TensorFile::open);
        Ok(Self {
            folder: folder.to_owned(),
            config,
            files: files.collect::<Result<_>>()?,
            places,
        })
    }

    /// Sizes and rules.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// All tensors by checkpoint name (GPT-2 without `transformer.`), in the dtype and on the
    /// device asked for.
    ///
    /// # Errors
    /// A dtype that holds no weights, non-finite values unless allowed, or a device without room.
    pub fn tensors(&self, options: &LoadOptions) -> Result<HashMap<String, Tensor>> {
        let _guard = tch::no_grad_guard();
        let mut tensors = HashMap::new();
        for (name, &(file, entry)) in &self.places {
            let file = &self.files[file];
            let stored = file
                .tensor(&file.tensors()[entry])?
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
        // NaN and infinity survive a sum, so one reduction clears a sound tensor; only a suspicious
        // one is counted.
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
    let weights = weights(folder)?;
    let tensors = weights.files.iter().flat_map(|file| &file.tensors);
    let largest = tensors
        .filter_map(|tensor| Some((kind(tensor)?, tensor.numbers())))
        .max_by_key(|(_, count)| *count);
    match largest {
        Some((kind, _)) => Ok(kind),
        None => Err(DecoderError::weights(
            folder,
            "the weight files hold no weights; download them again",
        )),
    }
}

fn weights(folder: &Path) -> Result<Weights> {
    read_weights(folder)?.ok_or_else(|| {
        let message = "holds neither model.safetensors nor model.safetensors.index.json; download \
                       the weights into this folder";
        DecoderError::weights(folder, message)
    })
}

/// Where each tensor lies, by its name in the family's layout.
fn places(config: &DecoderConfig, weights: &Weights) -> Result<BTreeMap<String, (usize, usize)>> {
    let mut places = BTreeMap::new();
    for (file, weight_file) in weights.files.iter().enumerate() {
        for (entry, tensor) in weight_file.tensors.iter().enumerate() {
            let name = plain_name(config, &tensor.name);
            if is_ignored(config, &name) {
                continue;
            }
            if let Some((first, _)) = places.insert(name.to_string(), (file, entry)) {
                let message = format!(
                    "{name} occurs again; it is already in {}",
                    weights.files[first].path.display()
                );
                return Err(DecoderError::weights(&weight_file.path, message));
            }
        }
    }
    Ok(places)
}

/// Decides whether the head is the embedding. A configuration that ties them is followed where one
/// of the two is stored, or both with the same bytes; a head that differs is used as it is.
fn settle_head(
    config: &mut DecoderConfig,
    weights: &Weights,
    places: &mut BTreeMap<String, (usize, usize)>,
) -> Result<()> {
    if !config.tie_embeddings {
        return Ok(());
    }
    let [embedding, head] = ends(config.family);
    match (places.get(&embedding).copied(), places.remove(&head)) {
        (_, None) => {}
        (None, Some(head)) => {
            places.insert(embedding, head);
        }
        (Some(one), Some(other)) => {
            let name = |(file, entry): (usize, usize)| &weights.files[file].tensors[entry].name;
            if stored_head(&weights.files, name(one), name(other))? == StoredHead::Different {
                config.tie_embeddings = false;
                places.insert(head, other);
            }
        }
    }
    Ok(())
}

/// Names a tensor that the model needs and that is not in the shard the index gives it. Others that
/// the index lists in vain do not matter.
fn check_index(
    config: &DecoderConfig,
    specs: &[ParameterSpec],
    weights: &Weights,
    places: &BTreeMap<String, (usize, usize)>,
) -> Result<()> {
    let needed: HashSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    for (name, shard) in &weights.index {
        let plain = plain_name(config, name);
        if needed.contains(&*plain) && !places.contains_key(&*plain) {
            let message = format!(
                "{name} should be in {shard}, which does not hold it; download the shard again"
            );
            return Err(DecoderError::weights(&weights.path, message));
        }
    }
    Ok(())
}

/// A tensor's name in the family's layout. GPT-2 files saved from the language-model class have a
/// prefix that the published file lacks; Qwen2's, LLaMA's and Dream's saved from the class without
/// a head lack one.
fn plain_name<'a>(config: &DecoderConfig, name: &'a str) -> Cow<'a, str> {
    match config.family {
        Family::Gpt2 => Cow::Borrowed(name.strip_prefix("transformer.").unwrap_or(name)),
        Family::Dream | Family::Qwen2 | Family::Llama
            if ["layers.", "embed_tokens.", "norm."]
                .iter()
                .any(|start| name.starts_with(start)) =>
        {
            Cow::Owned(format!("model.{name}"))
        }
        _ => Cow::Borrowed(name),
    }
}

/// Buffers that some files carry although they follow from the configuration.
fn is_ignored(config: &DecoderConfig, name: &str) -> bool {
    let gpt2_mask = || {
        let mut parts = name.split('.');
        parts.next() == Some("h")
            && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"))
    };
    (config.family == Family::Gpt2 && gpt2_mask()) || name.ends_with("rotary_emb.inv_freq")
}
