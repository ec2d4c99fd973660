//! The cells of a group, and the pass they share.

use std::{rc::Rc, time::Instant};

use harness_contract::{
    outputs::WindowsOutput,
    stages::{LatentChoice, WindowsParams},
};
use harness_core::{
    autointerp::{Activity, Places},
    rng::Stream,
};
use harness_engine::{error::CellError, eval::Scope, plugin::Sae, text::TextCodec};

use super::{
    logits::extremes,
    output::Outputs,
    pass::Follower,
    reading::{checked_latents, pass, read_text, scope},
    text::Text,
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
        let places = read.text.places(shared.rules.buffer);
        let mut followers: Vec<Follower<'_>> = (members.iter())
            .map(|member| member.follower(&read.text, &places))
            .collect();
        pass(
            worker,
            &shared.model,
            shared.numerics.dtype,
            &shared.text,
            &read,
            &mut followers,
            progress,
        )?;
        let mut outputs = Outputs::new(&read.text, &read.codec);
        let outputs = (members.iter().zip(followers))
            .map(|(member, follower)| member.output(worker, &mut outputs, &follower, &read.codec))
            .collect::<Result<_, _>>()?;
        worker.counters.peak_bytes = memory::peak_bytes();
        Ok(outputs)
    }
}

impl Member {
    /// Follows the text for its latents: for all of them where the text has labels, since any may
    /// be the best one of a label.
    fn follower(&self, text: &Text, places: &Places) -> Follower<'_> {
        let d_sae = self.sae.info().d_sae;
        let n_labels = self
            .params
            .label_field
            .is_some()
            .then_some(text.labels.len());
        let followed = match n_labels {
            Some(_) => &(0..d_sae as u32).collect(),
            None => &self.candidates,
        };
        let (rules, seed) = (self.params.rules, self.params.seed);
        Follower {
            layer: self.params.sae.layer as usize,
            sae: &self.sae,
            scope: self.scope,
            name: self.params.sae.name(),
            n_masked: 0,
            activity: Activity::new(d_sae, followed, rules, seed, places, n_labels),
        }
    }

    /// The windows of its latents, with the tokens that they promote and suppress.
    fn output(
        &self,
        worker: &mut Worker,
        outputs: &mut Outputs<'_>,
        follower: &Follower<'_>,
        codec: &TextCodec,
    ) -> Result<WindowsOutput, CellError> {
        let clock = Instant::now();
        let (activity, n_masked) = (&follower.activity, follower.n_masked);
        let mut found = outputs.output(&self.params, &self.candidates, activity, n_masked)?;
        worker.counters.phases.windows += clock.elapsed().as_secs_f64();
        let clock = Instant::now();
        let latents: Vec<u32> = found.latents.iter().map(|latent| latent.latent).collect();
        let n = self.params.n_logits as usize;
        let model = &mut worker.subject_model(&self.params.model)?.model;
        let logits = extremes(model, &self.sae, codec, &latents, n)?;
        for (latent, [promoted, suppressed]) in found.latents.iter_mut().zip(logits) {
            (latent.promoted, latent.suppressed) = (promoted, suppressed);
        }
        worker.counters.head_rows += if n == 0 { 0 } else { latents.len() as u64 };
        worker.counters.phases.head += clock.elapsed().as_secs_f64();
        Ok(found)
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
