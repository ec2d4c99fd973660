//! The three ways to get a model: fresh, from tensors, from a folder.

use std::collections::HashMap;
use std::path::Path;

use tch::{Tensor, nn};

use crate::Result;
use crate::checkpoint::{Checkpoint, LoadOptions, check_parameters};
use crate::config::{DecoderConfig, Family};
use crate::gpt2::Gpt2;
use crate::model::{Decoder, Parameters};
use crate::names::{Initial, parameters};
use crate::transformer::Transformer;

/// A model with fresh weights registered under their checkpoint names (`VarStore::variables` gives
/// the names back).
///
/// Norm weights and biases are in parameter group 1 and matrices in group 0, so that weight decay
/// can spare the former.
///
/// # Errors
/// A configuration that does not hold together.
pub fn init(config: &DecoderConfig, path: &nn::Path) -> Result<Box<dyn Decoder>> {
    config.validate("model configuration")?;
    let mut slots = HashMap::new();
    for spec in parameters(config) {
        let (group, initial) = match spec.initial {
            Initial::Normal { std_dev } => (
                0,
                nn::Init::Randn {
                    mean: 0.0,
                    stdev: std_dev,
                },
            ),
            Initial::Ones => (1, nn::Init::Const(1.0)),
            Initial::Zeros => (1, nn::Init::Const(0.0)),
        };
        let mut place = path.clone();
        let mut parts = spec.name.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_some() {
                place = place.sub(part);
            } else {
                let tensor = place.set_group(group).f_var(part, &spec.shape, initial)?;
                slots.insert(spec.slot, tensor);
            }
        }
    }
    assemble(config, Parameters::new(slots))
}

/// A model over given tensors, shared and not copied, named as in the family's checkpoint.
///
/// # Errors
/// Missing or extra tensors or wrong shapes, as a table.
pub fn from_tensors(
    config: &DecoderConfig,
    mut tensors: HashMap<String, Tensor>,
) -> Result<Box<dyn Decoder>> {
    config.validate("model configuration")?;
    let specs = parameters(config);
    let found = tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.size()))
        .collect();
    check_parameters("given tensors", &specs, &found)?;
    let slots = specs
        .into_iter()
        .filter_map(|spec| Some((spec.slot, tensors.remove(&spec.name)?)))
        .collect();
    assemble(config, Parameters::new(slots))
}

/// Loads a Hugging Face folder: config.json and single or sharded safetensors.
///
/// `family` is what the caller can use; `None` takes whatever the folder holds.
///
/// # Errors
/// Everything that [`Checkpoint::open`] and [`Checkpoint::tensors`] refuse.
pub fn load(
    folder: &Path,
    family: Option<Family>,
    options: &LoadOptions,
) -> Result<Box<dyn Decoder>> {
    let checkpoint = Checkpoint::open(folder)?;
    if let Some(wanted) = family {
        let origin = folder.join("config.json").display().to_string();
        checkpoint.config().expect_family(&origin, wanted)?;
    }
    let tensors = checkpoint.tensors(options)?;
    from_tensors(checkpoint.config(), tensors)
}

fn assemble(config: &DecoderConfig, parameters: Parameters) -> Result<Box<dyn Decoder>> {
    Ok(match config.family {
        Family::Gpt2 => Box::new(Gpt2::assemble(config, parameters)?),
        _ => Box::new(Transformer::assemble(config, parameters)?),
    })
}
