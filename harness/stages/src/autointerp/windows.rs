//! The cells of a group, and the pass they share.

use std::{rc::Rc, time::Instant};

use harness_contract::{
    outputs::WindowsOutput,
    stages::{LatentChoice, WindowsParams},
};
use harness_core::{autointerp::Activity, rng::Stream};
use harness_engine::{error::CellError, eval::Scope, plugin::Sae};

use super::{
    logits::extremes,
    output::Outputs,
    pass::Follower,
    reading::{TextOf, checked_latents, pass, read_text, scope},
};
use crate::{
    memory,
    stage::{Inputs, Progress, Stage},
    worker::Worker,
};

/// Latents followed at least, so that enough of them are alive.
const FOLLOWED: usize = 1024;
/// Latents followed for each that is wanted.
const FOLLOWED_EACH: usize = 4;

/// One cell of the group with its SAE.
pub(crate) struct Member {
    params: WindowsParams,
    sae: Rc<Sae>,
    scope: Scope,
    /// Latents in the order they are looked at.
    candidates: Vec<u32>,
}

/// Stage `windows`: the windows of many SAEs' latents.
pub(crate) struct Windows;

impl Stage for Windows {
    type Params = WindowsParams;
    type Member = Member;
    type Output = WindowsOutput;

    fn prepare(&self, worker: &mut Worker, params: &WindowsParams) -> Result<Member, CellError> {
        (params.rules.checked()).map_err(|error| CellError::Config(error.to_string()))?;
        let scope = scope(&params.sae, params.positions, params.masks.is_some())?;
        let sae = worker.sae(&params.model, &params.sae)?;
        let candidates = candidates(&params.latents, params.seed, sae.info().d_sae)?;
        Ok(Member {
            params: params.clone(),
            sae,
            scope,
            candidates,
        })
    }

    fn run(
        &self,
        worker: &mut Worker,
        members: &[Member],
        _: &Inputs<'_>,
        progress: Progress<'_>,
    ) -> Result<Vec<WindowsOutput>, CellError> {
        let shared = &members[0].params;
        let labels = shared.label_field.as_deref();
        let read = read_text(worker, &shared.model, &shared.text, labels, shared.masks)?;
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
        pass(
            worker,
            model,
            dtype,
            &shared.text,
            &read,
            &mut followers,
            progress,
        )?;

        let mut outputs = Outputs::new(text, codec);
        let mut out = Vec::new();
        for (member, follower) in members.iter().zip(followers) {
            let clock = Instant::now();
            let Follower {
                activity, n_masked, ..
            } = &follower;
            let mut found =
                outputs.output(&member.params, &member.candidates, activity, *n_masked)?;
            worker.counters.phases.windows += clock.elapsed().as_secs_f64();
            let clock = Instant::now();
            let latents: Vec<u32> = found.latents.iter().map(|latent| latent.latent).collect();
            let n = shared.n_logits as usize;
            let model = &mut worker.subject_model(&shared.model)?.model;
            let logits = extremes(model, &member.sae, codec, &latents, n)?;
            for (latent, [promoted, suppressed]) in found.latents.iter_mut().zip(logits) {
                (latent.promoted, latent.suppressed) = (promoted, suppressed);
            }
            worker.counters.head_rows += if n == 0 { 0 } else { latents.len() as u64 };
            worker.counters.phases.head += clock.elapsed().as_secs_f64();
            out.push(found);
        }
        worker.counters.peak_bytes = memory::peak_bytes();
        Ok(out)
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
