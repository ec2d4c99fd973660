//! Stage `features`: the latents of many SAEs that are worth moving a residual along, from one pass
//! over held-out text.
//!
//! The text is clean, as in the authors' code (PROTOCOL §5), unless the bench masks some of it;
//! special tokens do not count. A latent is a candidate when it fires at least [`MIN_ACTIVE`] times
//! and on at most [`MAX_DENSITY`] of the tokens. Candidates are ranked by [`super::coherence`],
//! which needs no judge, so that another judge never generates again.

use std::{rc::Rc, time::Instant};

use harness_contract::{
    outputs::{Context, Feature, FeaturesOutput},
    stages::{DocumentPolicy, FeatureChoice, FeaturesParams, ShardRef},
};
use harness_core::autointerp::{Activity, LatentTracker, WindowRules};
use harness_engine::{error::CellError, eval::Scope, plugin::Sae};

use super::{
    coherence::Rarity,
    output::Outputs,
    pass::Follower,
    reading::{TextOf, checked_latents, pass, read_text, scope},
    text::Text,
};
use crate::{
    memory,
    stage::{Inputs, Progress, Stage},
    worker::Worker,
};

/// Activations below which a latent is dead (PROTOCOL §5).
const MIN_ACTIVE: u64 = 15;
/// Density above which a latent is too common to stand for a concept.
const MAX_DENSITY: f64 = 0.1;
/// Tokens on either side of a peak in a window (SAEBench's buffer).
const BUFFER: u32 = 10;
/// Windows kept for each latent.
const WINDOWS: u32 = 12;

/// One cell of the group with its SAE.
pub(crate) struct Member {
    params: FeaturesParams,
    sae: Rc<Sae>,
    scope: Scope,
}

/// Stage `features`: the latents that are worth moving a residual along.
pub(crate) struct Features;

impl Stage for Features {
    type Params = FeaturesParams;
    type Member = Member;
    type Output = FeaturesOutput;

    fn prepare(&self, worker: &mut Worker, params: &FeaturesParams) -> Result<Member, CellError> {
        let scope = scope(&params.sae, params.positions, params.masks.is_some())?;
        let sae = worker.sae(&params.model, &params.sae)?;
        if let FeatureChoice::Listed { latents } = &params.choice {
            checked_latents(latents, sae.info().d_sae)?;
        }
        let params = params.clone();
        Ok(Member { params, sae, scope })
    }

    fn run(
        &self,
        worker: &mut Worker,
        members: &[Member],
        _: &Inputs<'_>,
        progress: Progress<'_>,
    ) -> Result<Vec<FeaturesOutput>, CellError> {
        let shared = &members[0].params;
        let corpus = &shared.corpus;
        let shard = ShardRef {
            files: corpus.files.clone(),
            text_field: corpus
                .text_field
                .clone()
                .unwrap_or_else(|| "text".to_owned()),
            documents: DocumentPolicy::Truncate,
            context_length: corpus.context_length,
            first_token: 0,
            tokens: corpus.budget_tokens,
            allow_short: true,
            max_bad_rows: corpus.max_bad_rows,
        };
        let read = read_text(worker, &shared.model, &shard, None, shared.masks)?;
        let TextOf { text, codec, .. } = &read;
        let rules = WindowRules::peaks(BUFFER, WINDOWS);
        let places = text.places(BUFFER);
        let mut followers: Vec<Follower<'_>> = members
            .iter()
            .map(|Member { params, sae, scope }| {
                let d_sae = sae.info().d_sae;
                let followed = match &params.choice {
                    FeatureChoice::Coherent { .. } => (0..d_sae as u32).collect(),
                    FeatureChoice::Listed { latents } => distinct(latents),
                };
                Follower {
                    layer: params.sae.layer as usize,
                    sae,
                    name: params.sae.name(),
                    scope: *scope,
                    n_masked: 0,
                    // Peaks are found without draws: no seed matters.
                    activity: Activity::new(d_sae, &followed, rules, 0, &places, None),
                }
            })
            .collect();
        let (model, dtype) = (&shared.model, shared.numerics.dtype);
        pass(
            worker,
            model,
            dtype,
            &shard,
            &read,
            &mut followers,
            progress,
        )?;

        let started = Instant::now();
        let ids = text.rows.iter().map(|row| row.ids.as_slice());
        let rarity = Rarity::of(ids, |id| !codec.is_special(id));
        let mut found = Finder {
            text,
            rarity,
            outputs: Outputs::new(text, codec),
        };
        let out = members
            .iter()
            .zip(&followers)
            .map(|(member, follower)| found.output(&member.params.choice, &follower.activity))
            .collect::<Result<_, _>>()?;
        worker.counters.phases.windows += started.elapsed().as_secs_f64();
        worker.counters.peak_bytes = memory::peak_bytes();
        Ok(out)
    }
}

/// Forms outputs from what a pass found.
struct Finder<'a> {
    text: &'a Text,
    rarity: Rarity,
    outputs: Outputs<'a>,
}

impl Finder<'_> {
    fn output(
        &mut self,
        choice: &FeatureChoice,
        activity: &Activity,
    ) -> Result<FeaturesOutput, CellError> {
        let latents = match choice {
            FeatureChoice::Coherent { n } => self.coherent(activity, *n as usize),
            FeatureChoice::Listed { latents } => latents.clone(),
        };
        let features = latents
            .into_iter()
            .map(|latent| self.feature(activity, latent))
            .collect::<Result<_, _>>()?;
        Ok(FeaturesOutput {
            features,
            tokens: activity.n_tokens(),
            documents: self.text.counts.rows,
            n_dead: activity.n_active().iter().filter(|n| **n == 0).count() as u64,
            n_bad_rows: self.text.counts.bad_rows,
            text_kept: self.text.counts.text_kept,
        })
    }

    /// The `n` most coherent latents, best first; of equal ones the smaller.
    fn coherent(&self, activity: &Activity, n: usize) -> Vec<u32> {
        let ids = |row: u64| self.text.rows[row as usize].ids.as_slice();
        let is_candidate = |tracker: &&LatentTracker| {
            tracker.n_active() >= MIN_ACTIVE && density(tracker, activity) <= MAX_DENSITY
        };
        let mut ranked: Vec<(f64, u32)> = activity
            .trackers()
            .iter()
            .filter(is_candidate)
            .filter_map(|tracker| {
                let coherence = self.rarity.coherence(&tracker.peaks(), ids)?;
                Some((coherence, tracker.latent()))
            })
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        ranked.iter().take(n).map(|(_, latent)| *latent).collect()
    }

    fn feature(&mut self, activity: &Activity, latent: u32) -> Result<Feature, CellError> {
        let tracker = activity
            .tracker(latent)
            .ok_or_else(|| CellError::Invalid(format!("latent {latent} was not followed")))?;
        let contexts = tracker
            .peaks()
            .iter()
            .map(|peak| {
                let window = self.outputs.window(peak)?;
                Ok(Context {
                    tokens: window.tokens,
                    acts: window.acts.into_iter().map(f64::from).collect(),
                    masked: window.masked,
                })
            })
            .collect::<Result<_, CellError>>()?;
        Ok(Feature {
            latent,
            density: density(tracker, activity),
            max_act: f64::from(tracker.max_act()),
            contexts,
        })
    }
}

fn density(tracker: &LatentTracker, activity: &Activity) -> f64 {
    tracker.n_active() as f64 / activity.n_tokens().max(1) as f64
}

/// Each once.
fn distinct(latents: &[u32]) -> Vec<u32> {
    let mut latents = latents.to_vec();
    latents.sort_unstable();
    latents.dedup();
    latents
}
