//! What the stages that share a pass have in common: the text, and the pass itself.

use std::{rc::Rc, time::Instant};

use harness_contract::stages::{Dtype, FixedMasks, ModelRef, Positions, SaeRef, ShardRef};
use harness_core::policy::Policy;
use harness_engine::{error::CellError, eval::Scope, text::TextCodec};

use super::{
    pass::{self, Follower, Reading},
    text::Text,
};
use crate::{stage::Progress, worker::Worker};

/// Tokens of a batch when the run names no number of rows, padding included.
const BATCH_TOKENS: usize = 8192;

/// A text as a model reads it.
pub(super) struct TextOf {
    pub(super) text: Text,
    pub(super) codec: Rc<TextCodec>,
    /// Seconds of reading it.
    pub(super) seconds: f64,
}

/// Reads the text of a pass.
///
/// # Errors
/// As [`Text::read`].
pub(super) fn read_text(
    worker: &mut Worker,
    model: &ModelRef,
    shard: &ShardRef,
    label_field: Option<&str>,
    masks: Option<FixedMasks>,
) -> Result<TextOf, CellError> {
    let started = Instant::now();
    let files = worker.assets.files(&shard.files)?;
    let loaded = worker.subject_model(model)?;
    let (info, codec) = (loaded.info.clone(), Rc::clone(&loaded.codec));
    let text = Text::read(&files, shard, label_field, masks, &info, &codec)?;
    worker.notes.add(text.counts.notes.clone());
    Ok(TextOf {
        text,
        codec,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Takes a text through the model, past its followers, and counts what that takes.
///
/// # Errors
/// As [`pass::run`].
pub(super) fn pass(
    worker: &mut Worker,
    model: &ModelRef,
    dtype: Dtype,
    shard: &ShardRef,
    read: &TextOf,
    followers: &mut [Follower<'_>],
    progress: Progress<'_>,
) -> Result<(), CellError> {
    let shape = worker.subject_model(model)?.facts.shape(dtype.bytes());
    let usual = BATCH_TOKENS / shard.context_length.max(1) as usize;
    let batch_rows = worker.batches.rows(usual);
    worker.batches.begin(batch_rows.min(read.text.rows.len()));
    let reading = Reading {
        text: &read.text,
        codec: &read.codec,
        batch_rows,
        threads: worker.init.threads as usize,
        shape,
    };
    let model = &mut worker.subject_model(model)?.model;
    worker.counters = pass::run(model, &reading, followers, progress)?;
    worker.counters.phases.data += read.seconds;
    Ok(())
}

/// Refuses latents the SAE does not have.
///
/// # Errors
/// The first of them.
pub(super) fn checked_latents(latents: &[u32], d_sae: usize) -> Result<(), CellError> {
    match latents.iter().find(|latent| **latent as usize >= d_sae) {
        Some(out) => Err(CellError::Config(format!(
            "latent {out} out of range: the SAE has {d_sae} latents, 0 to {}",
            d_sae - 1
        ))),
        None => Ok(()),
    }
}

/// Positions at which activations of an SAE count.
///
/// # Errors
/// Masked positions of a text without masks.
pub(super) fn scope(
    sae: &SaeRef,
    positions: Positions,
    has_masks: bool,
) -> Result<Scope, CellError> {
    match positions {
        Positions::All => Ok(Scope::All),
        Positions::Policy if sae.policy == Policy::Mask && !has_masks => {
            Err(CellError::Config(format!(
                "{} is looked at where tokens are masked, and none are: mask some, or look at all positions",
                sae.name()
            )))
        }
        Positions::Policy => Ok(Scope::of(sae.policy)),
    }
}
