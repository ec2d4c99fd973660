//! A model with random weights and text for it.

use std::{
    fs,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};
use decoder::{DecoderConfig, Family, init, save_checkpoint};
use harness_data::{Split, documents};
use tch::{Device, Kind, nn};

/// Writes a Dream checkpoint of random weights in bf16, with the tokenizer and the special tokens
/// of `like`.
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

/// Writes text that gives more than `activations` masked positions at mask rates from 0.05 to 0.5.
///
/// # Errors
/// When it cannot be written.
pub fn write_text(path: &Path, activations: u64) -> Result<()> {
    let mut out = BufWriter::new(fs::File::create(path)?);
    // Some 45 tokens a document, of which a quarter is masked; twice that, because the rates are
    // drawn.
    for document in documents(Split::Train, 17, 200 + activations / 5, None) {
        serde_json::to_writer(&mut out, &document)?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}
