//! Starts a model from another's weights, as Dream was started from Qwen2.5.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use decoder::{Checkpoint, DecoderConfig, LoadOptions, ParameterSpec, parameters};
use tch::{Device, Kind, Tensor, no_grad};

use crate::tokenizer::Vocabulary;

/// Copies the parent's weights into `variables`, parameter by parameter in the two families' common
/// order.
///
/// Embedding rows go by token, since vocabularies differ in their numbers and special tokens; rows
/// of tokens that the parent lacks keep their fresh values. Where the child has more key heads,
/// each of the parent's serves several.
///
/// # Errors
/// A parent that cannot be read or is built differently.
pub fn copy(
    parent: &Path,
    vocabulary: &Vocabulary,
    config: &DecoderConfig,
    variables: &HashMap<String, Tensor>,
) -> Result<()> {
    let checkpoint = Checkpoint::open(parent)?;
    let options = LoadOptions {
        kind: Kind::Float,
        device: Device::Cpu,
        ..LoadOptions::default()
    };
    let tensors = checkpoint.tensors(&options)?;
    let theirs = weights(checkpoint.config());
    let ours = weights(config);
    if theirs.len() != ours.len() {
        bail!(
            "{} parameters in the parent, {} here",
            theirs.len(),
            ours.len()
        );
    }
    let rows = token_rows(parent, vocabulary)?;
    for (from, to) in theirs.iter().zip(&ours) {
        let source = tensors
            .get(&from.name)
            .with_context(|| format!("the parent has no {}", from.name))?;
        let mut target = variables
            .get(&to.name)
            .with_context(|| format!("no variable {}", to.name))?
            .shallow_clone();
        let (has, wants) = (source.size(), target.size());
        no_grad(|| -> Result<()> {
            if has == wants && has[0] == config.vocab_size {
                let (theirs, ours): (Vec<i64>, Vec<i64>) = rows.iter().copied().unzip();
                let picked = source.index_select(0, &Tensor::from_slice(&theirs));
                let _ = target.index_copy_(0, &Tensor::from_slice(&ours), &picked);
            } else if has == wants {
                target.copy_(source);
            } else if has.len() == wants.len() && wants[0] % has[0] == 0 && has[1..] == wants[1..] {
                target.copy_(&repeated_heads(source, config.head_dim, wants[0] / has[0]));
            } else {
                bail!("{} is {has:?} in the parent and {wants:?} here", from.name);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Parameters that both families of a pair have: everything but biases where only one has them
/// never differ here.
fn weights(config: &DecoderConfig) -> Vec<ParameterSpec> {
    parameters(config)
}

/// Rows of a projection are heads of `head_dim`; each is written `times` times in a row.
fn repeated_heads(source: &Tensor, head_dim: i64, times: i64) -> Tensor {
    let mut shape = source.size();
    let heads = shape[0] / head_dim;
    shape[0] *= times;
    let rest: i64 = source.size()[1..].iter().product();
    source
        .view([heads, 1, head_dim, rest])
        .expand([heads, times, head_dim, rest], false)
        .reshape(shape.as_slice())
}

/// Pairs of (parent's id, our id) of the same token.
fn token_rows(parent: &Path, vocabulary: &Vocabulary) -> Result<Vec<(i64, i64)>> {
    let plain = parent.join("vocab.json");
    let theirs: HashMap<String, i64> = if plain.is_file() {
        read(&plain)?
    } else {
        let whole: serde_json::Value = read(&parent.join("tokenizer.json"))?;
        serde_json::from_value(whole["model"]["vocab"].clone())?
    };
    let mut pairs: Vec<(i64, i64)> = vocabulary
        .base_tokens()
        .filter_map(|(token, ours)| Some((*theirs.get(token)?, ours)))
        .collect();
    // The three tokens that frame a text mean the same in every family.
    let config: serde_json::Value = read(&parent.join("tokenizer_config.json"))?;
    let special = |content: &str| {
        let table = config["added_tokens_decoder"].as_object()?;
        table
            .iter()
            .find(|(_, entry)| entry["content"] == content)?
            .0
            .parse::<i64>()
            .ok()
    };
    for (their, our) in [
        ("<|endoftext|>", "<|endoftext|>"),
        ("<|end_of_text|>", "<|endoftext|>"),
        ("<|begin_of_text|>", "<|startoftext|>"),
        ("<|im_start|>", "<|im_start|>"),
        ("<|im_end|>", "<|im_end|>"),
        ("<|mask|>", "<|mask|>"),
    ] {
        if let (Some(their), Ok(our)) = (special(their), vocabulary.special(our)) {
            pairs.push((their, our));
        }
    }
    Ok(pairs)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("cannot parse {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_repeat_next_to_themselves() {
        let source = Tensor::arange(8, (Kind::Float, Device::Cpu)).view([4, 2]); // two heads of two rows
        let repeated = repeated_heads(&source, 2, 2);
        let expected = [
            0., 1., 2., 3., 0., 1., 2., 3., 4., 5., 6., 7., 4., 5., 6., 7.,
        ];
        assert_eq!(repeated.size(), [8, 2]);
        assert_eq!(Vec::<f32>::try_from(repeated.view([-1])).unwrap(), expected);
    }
}
