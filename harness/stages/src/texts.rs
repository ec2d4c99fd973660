//! Texts that a model writes to prompts, with or without something that moves its residual.

use harness_contract::{
    outputs::{Generation, GenerationOutput},
    stages::{GenerationParams, ModelRef},
};
use harness_engine::{
    error::CellError,
    generate::{
        AutoregressRequest, Generated, Steering, autoregress, continuations, denoise, plan_batches,
    },
    plugin::{Model, Remasker, Sae, SteeringPolicy},
    text::TextCodec,
};
use serde_json::json;

use crate::{
    generation::{denoising, sampling},
    stage::Progress,
    worker::Worker,
};

/// Rows of a batch when the run names no number: enough to keep two cores busy on small models.
const BATCH_ROWS: usize = 64;

/// One text to generate.
pub(crate) struct Row {
    pub(crate) latent: Option<u32>,
    /// Index of its prompt: keys its draws.
    pub(crate) prefix: u32,
    pub(crate) prompt: Vec<i64>,
}

/// What moves the residual.
pub(crate) struct Mover<'a> {
    pub(crate) layer: usize,
    pub(crate) sae: &'a Sae,
    pub(crate) policy: SteeringPolicy,
    pub(crate) amp_factor: f64,
}

/// Generates the texts of rows, batches of one length at a time; one for each row, in their order.
pub(crate) fn texts(
    worker: &mut Worker,
    model: &ModelRef,
    generation: &GenerationParams,
    codec: &TextCodec,
    rows: &[Row],
    mut mover: Option<Mover<'_>>,
    progress: Progress<'_>,
) -> Result<GenerationOutput, CellError> {
    let max_rows = worker.batches.rows(BATCH_ROWS);
    let mut remasker = match &generation.denoising {
        Some(denoising) => Some((
            worker
                .registry
                .remasker(&denoising.order.name, &json!({}))?,
            denoising.dlm_steps,
        )),
        None => None,
    };
    let lengths: Vec<usize> = rows.iter().map(|row| row.prompt.len()).collect();
    let mut texts: Vec<Option<Generation>> = rows.iter().map(|_| None).collect();
    let mut done = 0;
    for batch in plan_batches(&lengths, max_rows) {
        worker.batches.begin(batch.len());
        let chosen: Vec<&Row> = batch.iter().map(|&i| &rows[i]).collect();
        let mut steering = match &mut mover {
            Some(mover) => {
                let latents: Vec<i64> = chosen
                    .iter()
                    .filter_map(|row| row.latent)
                    .map(i64::from)
                    .collect();
                let Mover {
                    layer,
                    sae,
                    policy,
                    amp_factor,
                } = mover;
                Some(Steering::by_latents(
                    *layer,
                    policy,
                    *amp_factor,
                    sae,
                    &latents,
                )?)
            }
            None => None,
        };
        let loaded = worker.subject_model(model)?;
        let generated = run_batch(
            &mut loaded.model,
            generation,
            &chosen,
            remasker
                .as_mut()
                .map(|(remasker, steps)| (remasker, *steps)),
            steering.as_mut(),
        )?;
        let continued = continuations(codec, &generated, &loaded.info.eos_token_ids)?;
        for (r, (&i, text)) in batch.iter().zip(continued).enumerate() {
            texts[i] = Some(Generation {
                latent: rows[i].latent,
                prefix: rows[i].prefix,
                text,
                tokens: generated.continuation(r).to_vec(),
            });
        }
        done += batch.len();
        worker.counters.generations += batch.len() as u64;
        progress(done as u64, rows.len() as u64, "texts")?;
    }
    let texts = texts
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| CellError::Invalid("a text was left out of every batch".to_owned()))?;
    Ok(GenerationOutput { texts })
}

fn run_batch(
    model: &mut Model,
    generation: &GenerationParams,
    rows: &[&Row],
    remasker: Option<(&mut Remasker, u32)>,
    steering: Option<&mut Steering<'_>>,
) -> Result<Generated, CellError> {
    let prompts: Vec<Vec<i64>> = rows.iter().map(|row| row.prompt.clone()).collect();
    // The prefix keys the draws, so that steered and unsteered texts share them.
    let item_ids: Vec<u64> = rows.iter().map(|row| u64::from(row.prefix)).collect();
    let info = model.info()?.clone();
    Ok(match remasker {
        Some((remasker, steps)) => {
            let request = denoising(generation, steps, &info, &prompts, &item_ids);
            denoise(model, remasker, &request, steering, None)?
        }
        None => {
            let request = AutoregressRequest {
                prompts: &prompts,
                item_ids: &item_ids,
                max_new_tokens: generation.max_new_tokens as usize,
                stop_ids: None,
                sampling: sampling(generation, &info),
                seed: generation.seed,
            };
            autoregress(model, &request, steering, None)?
        }
    })
}
