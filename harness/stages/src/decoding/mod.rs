//! Stage `decoding`: questions answered in one decoding order, their SAE features followed in the
//! passes that generate.

mod questions;

use std::rc::Rc;

use harness_contract::{
    outputs::{Answer, DecodingOutput},
    stages::DecodingParams,
};
use harness_core::{
    dynamics::DynamicsSums,
    task::answer::{Extraction, extract},
};
use harness_engine::{
    dynamics::{FeatureTrace, Tracked},
    error::CellError,
    generate::{
        DenoiseRequest, GenerateError, Generated, OrderDraws, Sampling, SamplingRule,
        continuations, denoise, plan_batches,
    },
    plugin::Sae,
    prompt::check_length,
};
use serde_json::json;

use self::questions::{Questions, prompt};
use crate::{
    memory,
    stage::{Inputs, Progress},
    worker::Worker,
};

/// Rows of a batch when the run names no number. Rows of a batch have prompts of one length, so
/// most batches are smaller.
const BATCH_ROWS: usize = 32;

/// Answers the questions of a cell.
pub(crate) fn decoding(
    worker: &mut Worker,
    params: &DecodingParams,
    _: &Inputs<'_>,
    progress: Progress<'_>,
) -> Result<DecodingOutput, CellError> {
    let invalid = |message: &str| CellError::Invalid(message.to_owned());
    let denoising = (params.generation.denoising.as_ref())
        .ok_or_else(|| invalid("a decoding cell without a decoding order"))?;
    let loaded = worker.subject_model(&params.model)?;
    let (codec, info) = (Rc::clone(&loaded.codec), loaded.info.clone());
    let mask_id = (info.mask_token_id).ok_or_else(|| invalid("the model has no mask token"))?;
    let files = worker.assets.files(&params.questions.files)?;
    let read = Questions::read(&files, &params.questions)?;
    worker.notes.add(read.notes.clone());
    let prompts = (read.questions.iter())
        .map(|question| prompt(&codec, &params.preset, question, params.prompt_tokens))
        .collect::<Result<Vec<_>, _>>()?;
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    check_length(&info, longest, params.generation.max_new_tokens as usize)?;
    let saes = (params.saes.iter())
        .map(|sae| Ok((sae.layer as usize, worker.assets.sae(sae, info.d_model)?)))
        .collect::<Result<Vec<(usize, Rc<Sae>)>, CellError>>()?;
    let sae_flops = || saes.iter().map(|(_, sae)| sae.flops()).sum::<f64>();
    let flops_before = sae_flops();
    let mut remasker = (worker.registry).remasker(&denoising.order.name, &json!({}))?;

    let max_rows = worker.batches.rows(BATCH_ROWS);
    let lengths: Vec<usize> = prompts.iter().map(Vec::len).collect();
    let (new, steps) = (
        params.generation.max_new_tokens as usize,
        denoising.dlm_steps as usize,
    );
    let layers = params.saes.iter().map(|sae| sae.layer).collect();
    let mut dynamics = DynamicsSums::new(layers, steps, new);
    let mut units: Vec<Option<_>> = prompts.iter().map(|_| None).collect();
    let mut answers: Vec<Option<Answer>> = prompts.iter().map(|_| None).collect();
    let total = (prompts.len() * steps) as u64;
    let mut done = 0;
    for batch in plan_batches(&lengths, max_rows) {
        worker.batches.begin(batch.len());
        let mut tell = |rows: u64| {
            done += rows;
            progress(done, total, "question steps")
                .map_err(|error| GenerateError::Observer(error.to_string().into()))
        };
        let lent = saes.iter().map(|(layer, sae)| (*layer, &**sae)).collect();
        let (k_set, tracked) = (params.k_set as usize, Tracked::Generated(new));
        let mut trace = FeatureTrace::new(lent, k_set, tracked, mask_id, steps).telling(&mut tell);
        if params.until_stop {
            trace = trace.until(&info.eos_token_ids);
        }
        let rows: Vec<Vec<i64>> = batch.iter().map(|&i| prompts[i].clone()).collect();
        let item_ids: Vec<u64> = batch.iter().map(|&i| read.questions[i].index).collect();
        let model = &mut worker.subject_model(&params.model)?.model;
        let before = model.work().block_passes;
        let generated = denoise(
            model,
            &mut remasker,
            &DenoiseRequest {
                prompts: &rows,
                item_ids: &item_ids,
                max_new_tokens: new,
                steps,
                block_length: None,
                sampling: Sampling {
                    temperature: params.generation.temperature,
                    top_p: Some(params.generation.top_p),
                    top_k: None,
                    rule: SamplingRule::of(&info),
                },
                cfg_scale: 0.0,
                seed: params.generation.seed,
                order_draws: &OrderDraws::Counter,
            },
            None,
            Some(&mut trace),
        )?;
        let passes = model.work().block_passes - before;
        worker.counters.sae_rows += trace.sae_rows();
        worker.counters.generations += batch.len() as u64;
        worker.counters.batches += 1;
        worker.counters.denoising_steps += steps as u64;
        // Work is counted in rows × blocks; a batch's rows go through a block together.
        worker.counters.batch_block_passes += passes / batch.len() as u64;
        let texts = continuations(&codec, &generated, &info.eos_token_ids)?;
        for (r, ((&i, unit), text)) in batch.iter().zip(trace.finish()).zip(texts).enumerate() {
            units[i] = Some(unit);
            let question = &read.questions[i];
            answers[i] = Some(answer(
                params,
                question,
                text,
                steps_of(&generated, r, steps),
            ));
        }
    }
    worker.counters.flops += sae_flops() - flops_before;
    worker.counters.peak_bytes = memory::peak_bytes();
    let left_out = || invalid("a question was left out of every batch");
    dynamics.units = units
        .into_iter()
        .collect::<Option<_>>()
        .ok_or_else(left_out)?;
    Ok(DecodingOutput {
        dynamics,
        answers: answers
            .into_iter()
            .collect::<Option<_>>()
            .ok_or_else(left_out)?,
        n_bad_rows: read.n_bad_rows,
    })
}

/// Steps until the last mask of row `r` was filled; all of them where one was left.
fn steps_of(generated: &Generated, r: usize, steps: usize) -> u32 {
    let t = generated.tokens.t();
    let row = &generated.decode_step[r * t..(r + 1) * t];
    let last = row.iter().copied().max().unwrap_or(-1);
    u32::try_from((last + 1).min(steps as i64)).unwrap_or(0)
}

fn answer(
    params: &DecodingParams,
    question: &harness_core::task::question::Question,
    text: String,
    steps: u32,
) -> Answer {
    let reply = params.preset.reply(&text);
    let (strict, flexible) = (
        extract(reply, Extraction::Strict),
        extract(reply, Extraction::Flexible),
    );
    let is_right = |found: Option<_>| question.gold.map(|gold| found == Some(gold));
    Answer {
        question: question.index,
        gold: question.gold.map(|gold| gold.to_string()),
        strict_correct: is_right(strict),
        flexible_correct: is_right(flexible),
        strict: strict.map(|number| number.to_string()),
        flexible: flexible.map(|number| number.to_string()),
        text,
        steps,
    }
}
