//! What the stages that share a pass have in common: the text, the SAEs, and the pass itself.

use std::{path::Path, rc::Rc, time::Instant};

use harness_contract::{
    protocol::Counters,
    sources::ModelFolder,
    stages::{Dtype, FixedMasks, ModelRef, Positions, SaeRef, ShardRef},
};
use harness_core::policy::Policy;

use super::{
    pass::{self, Follower, Reading},
    text::Text,
};
use crate::{
    eval::Scope,
    plugin::Sae,
    run::{CellError, Progress, Session, assets},
    text::TextCodec,
};

/// Tokens of a batch when the run names no number of rows, padding included.
const BATCH_TOKENS: usize = 8192;

/// A text as a model reads it.
pub(super) struct TextOf {
    pub(super) text: Text,
    pub(super) codec: Rc<TextCodec>,
    /// Seconds of reading it.
    pub(super) seconds: f64,
}

impl Session {
    /// The SAE of a cell that shares a pass.
    ///
    /// # Errors
    /// A layer the model does not have; an SAE that cannot be loaded or does not fit the model.
    pub(super) fn sae_of_pass(
        &mut self,
        model: &ModelRef,
        sae: &SaeRef,
    ) -> Result<Rc<Sae>, CellError> {
        let info = self.subject_model(model)?.info.clone();
        if sae.layer as usize >= info.n_layers {
            return Err(CellError::Invalid(format!(
                "layer {} out of range: {} has {} blocks, 0 to {}",
                sae.layer,
                model.name,
                info.n_layers,
                info.n_layers - 1
            )));
        }
        self.grid_sae(sae, info.d_model)
    }

    /// Reads the text of a pass.
    ///
    /// # Errors
    /// As [`Text::read`].
    pub(super) fn read_text(
        &mut self,
        model: &ModelRef,
        shard: &ShardRef,
        label_field: Option<&str>,
        masks: Option<FixedMasks>,
    ) -> Result<TextOf, CellError> {
        let started = Instant::now();
        let files = shard
            .files
            .iter()
            .map(|hash| assets::source(&self.init.sources.files, "data file", hash))
            .map(|path| path.map(Path::to_path_buf))
            .collect::<Result<Vec<_>, _>>()?;
        let loaded = self.subject_model(model)?;
        let (info, codec) = (loaded.info.clone(), Rc::clone(&loaded.codec));
        let text = Text::read(&files, shard, label_field, masks, &info, &codec)?;
        self.note(text.counts.notes.clone());
        Ok(TextOf {
            text,
            codec,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Takes a text through the model, past its followers.
    ///
    /// # Errors
    /// As [`pass::run`].
    pub(super) fn pass(
        &mut self,
        model: &ModelRef,
        dtype: Dtype,
        shard: &ShardRef,
        read: &TextOf,
        followers: &mut [Follower<'_>],
        progress: Progress<'_>,
    ) -> Result<Counters, CellError> {
        let dir = assets::source(&self.init.sources.models, "model", &model.checkpoint)?;
        let folder = ModelFolder::read(&model.name, dir)
            .map_err(|error| CellError::BadInput(error.to_string()))?;
        let batch_rows = self.batch_rows(BATCH_TOKENS / shard.context_length.max(1) as usize);
        self.batch_of(batch_rows.min(read.text.rows.len()));
        let reading = Reading {
            text: &read.text,
            codec: &read.codec,
            batch_rows,
            threads: self.init.threads as usize,
            shape: folder.shape(dtype.bytes()),
        };
        let model = &mut self.subject_model(model)?.model;
        let mut counters = pass::run(model, &reading, followers, progress)?;
        counters.phases.data += read.seconds;
        Ok(counters)
    }
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
