//! A model with random weights.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use decoder::{DecoderConfig, Family, init, save_checkpoint};
use tch::{Device, Kind, nn};

/// Writes a Dream checkpoint of random weights in bf16, with the tokenizer and the special tokens of `like`.
///
/// # Errors
/// When `like` cannot be read or the folder not be written.
pub fn write(folder: &Path, like: &Path, d_model: i64, blocks: i64) -> Result<()> {
    tch::manual_seed(3407);
    let theirs = decoder::Checkpoint::open(like)?;
    let vocabulary = theirs.config().vocab_size;
    let mut config = DecoderConfig::new(Family::Dream, vocabulary, d_model, blocks, 8);
    config.special = theirs.config().special.clone();
    config.d_ff = 2816 * d_model / 1024;
    let weights = nn::VarStore::new(Device::Cpu);
    init(&config, &weights.root())?;
    save_checkpoint(folder, &config, weights.variables(), Kind::BFloat16)?;
    // Beside its configuration and weights a checkpoint holds its tokenizer.
    for entry in fs::read_dir(like).with_context(|| like.display().to_string())? {
        let from = entry?.path();
        let name = from.file_name().unwrap_or_default();
        let is_model = name == "config.json" || from.extension() == Some("safetensors".as_ref());
        if from.is_file() && !is_model {
            fs::copy(&from, folder.join(name)).with_context(|| from.display().to_string())?;
        }
    }
    Ok(())
}
