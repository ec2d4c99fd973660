//! The cells of a group, and the pass they share.

use std::{rc::Rc, time::Instant};

use harness_contract::{
    cell::Cell,
    outputs::WindowsOutput,
    protocol::Counters,
    stages::{LatentChoice, WindowsParams},
};
use harness_core::{autointerp::Activity, rng::Stream};
use serde_json::Value;

use super::{
    logits::extremes,
    output::Outputs,
    pass::Follower,
    reading::{TextOf, checked_latents, scope},
};
use crate::{
    eval::Scope,
    plugin::Sae,
    run::{
        CellError, Progress, Session,
        cell::{CellResult, params_of},
        memory,
    },
};

/// Latents followed at least, so that enough of them are alive.
const FOLLOWED: usize = 1024;
/// Latents followed for each that is wanted.
const FOLLOWED_EACH: usize = 4;

/// One cell of the group with its SAE.
struct Member {
    params: WindowsParams,
    sae: Rc<Sae>,
    scope: Scope,
    /// Latents in the order they are looked at.
    candidates: Vec<u32>,
}

impl Session {
    /// Runs the cells of one group; one result for each. An SAE that cannot be loaded fails its own
    /// cell only.
    pub(in crate::run) fn windows(
        &mut self,
        cells: &[(&Cell, Vec<Value>)],
        progress: Progress<'_>,
    ) -> Vec<CellResult> {
        let wanted: Vec<String> = cells
            .iter()
            .filter_map(|(cell, _)| cell.params_of::<WindowsParams>())
            .map(|params| params.sae.hash.clone())
            .collect();
        self.keep_saes(&wanted);
        let prepare = |session: &mut Session, cell: &Cell| session.follow(params_of(cell)?);
        self.together(cells, prepare, |session, members, _| {
            session.find(members, &mut *progress)
        })
    }

    fn follow(&mut self, params: WindowsParams) -> Result<Member, CellError> {
        let config = |error: String| CellError::Config(error);
        params
            .rules
            .checked()
            .map_err(|error| config(error.to_string()))?;
        let scope = scope(&params.sae, params.positions, params.masks.is_some())?;
        let sae = self.sae_of_pass(&params.model, &params.sae)?;
        let candidates = candidates(&params.latents, params.seed, sae.info().d_sae)?;
        Ok(Member {
            params,
            sae,
            scope,
            candidates,
        })
    }

    fn find(
        &mut self,
        members: &[Member],
        progress: Progress<'_>,
    ) -> Result<(Vec<WindowsOutput>, Counters), CellError> {
        let shared = &members[0].params;
        let labels = shared.label_field.as_deref();
        let read = self.read_text(&shared.model, &shared.text, labels, shared.masks)?;
        let TextOf { text, codec, .. } = &read;
        let places = text.places(shared.rules.buffer);
        let mut followers: Vec<Follower<'_>> = members
            .iter()
            .map(|member| {
                let d_sae = member.sae.info().d_sae;
                let all: Vec<u32>;
                let followed = match labels {
                    // Any latent may be the best one of a label.
                    Some(_) => {
                        all = (0..d_sae as u32).collect();
                        &all
                    }
                    None => &member.candidates,
                };
                let n_labels = labels.map(|_| text.labels.len());
                Follower {
                    layer: member.params.sae.layer as usize,
                    sae: &member.sae,
                    scope: member.scope,
                    name: member.params.sae.name(),
                    n_masked: 0,
                    activity: Activity::new(
                        d_sae,
                        followed,
                        shared.rules,
                        shared.seed,
                        &places,
                        n_labels,
                    ),
                }
            })
            .collect();
        let (model, dtype) = (&shared.model, shared.numerics.dtype);
        let mut counters =
            self.pass(model, dtype, &shared.text, &read, &mut followers, progress)?;

        let model = &mut self.subject_model(&shared.model)?.model;
        let mut outputs = Outputs::new(text, codec);
        let mut out = Vec::new();
        for (member, follower) in members.iter().zip(followers) {
            let clock = Instant::now();
            let Follower {
                activity, n_masked, ..
            } = &follower;
            let mut found =
                outputs.output(&member.params, &member.candidates, activity, *n_masked)?;
            counters.phases.windows += clock.elapsed().as_secs_f64();
            let clock = Instant::now();
            let latents: Vec<u32> = found.latents.iter().map(|latent| latent.latent).collect();
            let n = shared.n_logits as usize;
            let logits = extremes(model, &member.sae, codec, &latents, n)?;
            for (latent, [promoted, suppressed]) in found.latents.iter_mut().zip(logits) {
                (latent.promoted, latent.suppressed) = (promoted, suppressed);
            }
            counters.head_rows += if n == 0 { 0 } else { latents.len() as u64 };
            counters.phases.head += clock.elapsed().as_secs_f64();
            out.push(found);
        }
        counters.peak_bytes = memory::peak_bytes();
        Ok((out, counters))
    }
}

/// Latents in the order they are looked at. Which of them are alive is known after the pass only,
/// so more are followed than are wanted.
fn candidates(choice: &LatentChoice, seed: u64, d_sae: usize) -> Result<Vec<u32>, CellError> {
    match choice {
        LatentChoice::Sample { n } => {
            let followed = FOLLOWED.max(FOLLOWED_EACH * *n as usize);
            let order = Stream::new(seed, "latents").sample_indices(d_sae, followed);
            Ok(order.into_iter().map(|latent| latent as u32).collect())
        }
        LatentChoice::Listed { latents } => {
            checked_latents(latents, d_sae)?;
            let mut latents = latents.clone();
            latents.sort_unstable();
            latents.dedup();
            Ok(latents)
        }
    }
}
