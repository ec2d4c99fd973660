//! Stage `decoding`: questions answered in one decoding order, their SAE features followed in the
//! passes that generate.

mod questions;

use std::rc::Rc;

use harness_contract::{
    outputs::{Answer, DecodingOutput},
    stages::{DecodingParams, DenoisingParams},
};
use harness_core::{
    dynamics::{DynamicsSums, PromptSums},
    task::{
        answer::{Extraction, extract},
        question::Question,
    },
};
use harness_engine::{
    dynamics::{FeatureTrace, Tracked},
    error::CellError,
    generate::{GenerateError, Generated, continuations, denoise, plan_batches},
    plugin::{ModelInfo, Remasker, Sae},
    prompt::check_length,
    text::TextCodec,
};
use serde_json::json;

use self::questions::{Questions, prompt};
use crate::{
    generation::denoising,
    memory,
    stage::{Inputs, Progress},
    worker::Worker,
};

/// Rows of a batch when the run names no number. Rows of a batch have prompts of one length, so
/// most batches are smaller.
const BATCH_ROWS: usize = 32;

/// The questions of a cell as prompts, and what they are answered and followed with.
struct Asked<'a> {
    params: &'a DecodingParams,
    denoising: &'a DenoisingParams,
    info: ModelInfo,
    codec: Rc<TextCodec>,
    mask_id: i64,
    read: Questions,
    prompts: Vec<Vec<i64>>,
    /// By layer.
    saes: Vec<(usize, Rc<Sae>)>,
}

/// Answers the questions of a cell.
pub(crate) fn decoding(
    worker: &mut Worker,
    params: &DecodingParams,
    _: &Inputs<'_>,
    progress: Progress<'_>,
) -> Result<DecodingOutput, CellError> {
    let asked = Asked::read(worker, params)?;
    let flops_before = asked.sae_flops();
    let order = &asked.denoising.order;
    let mut remasker = worker.registry.remasker(&order.name, &json!({}))?;
    let lengths: Vec<usize> = asked.prompts.iter().map(Vec::len).collect();
    let mut found: Vec<Option<(PromptSums, Answer)>> = lengths.iter().map(|_| None).collect();
    let total = (lengths.len() * asked.steps()) as u64;
    let mut done = 0;
    for batch in plan_batches(&lengths, worker.batches.rows(BATCH_ROWS)) {
        let mut tell = |rows: u64| {
            done += rows;
            progress(done, total, "question steps")
                .map_err(|error| GenerateError::Observer(error.to_string().into()))
        };
        let answers = asked.answer(worker, &mut remasker, &batch, &mut tell)?;
        for (i, answer) in batch.into_iter().zip(answers) {
            found[i] = Some(answer);
        }
    }
    worker.counters.flops += asked.sae_flops() - flops_before;
    worker.counters.peak_bytes = memory::peak_bytes();
    let found: Option<Vec<_>> = found.into_iter().collect();
    let found = found.ok_or_else(|| invalid("a question was left out of every batch"))?;
    let (units, answers) = found.into_iter().unzip();
    let layers = params.saes.iter().map(|sae| sae.layer).collect();
    Ok(DecodingOutput {
        dynamics: DynamicsSums {
            units,
            ..DynamicsSums::new(layers, asked.steps(), asked.new_tokens())
        },
        answers,
        n_bad_rows: asked.read.n_bad_rows,
    })
}

impl<'a> Asked<'a> {
    fn read(worker: &mut Worker, params: &'a DecodingParams) -> Result<Self, CellError> {
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
            .collect::<Result<_, CellError>>()?;
        Ok(Self {
            params,
            denoising,
            info,
            codec,
            mask_id,
            read,
            prompts,
            saes,
        })
    }

    fn new_tokens(&self) -> usize {
        self.params.generation.max_new_tokens as usize
    }

    fn steps(&self) -> usize {
        self.denoising.dlm_steps as usize
    }

    /// What the SAEs have computed so far.
    fn sae_flops(&self) -> f64 {
        self.saes.iter().map(|(_, sae)| sae.flops()).sum()
    }

    /// Answers the questions of a batch, with the sums of the features followed meanwhile. `tell`
    /// is told of each step how many rows have made it.
    fn answer(
        &self,
        worker: &mut Worker,
        remasker: &mut Remasker,
        batch: &[usize],
        tell: &mut dyn FnMut(u64) -> Result<(), GenerateError>,
    ) -> Result<Vec<(PromptSums, Answer)>, CellError> {
        worker.batches.begin(batch.len());
        let (params, steps, new) = (self.params, self.steps(), self.new_tokens());
        let lent = (self.saes.iter())
            .map(|(layer, sae)| (*layer, &**sae))
            .collect();
        let (k_set, tracked) = (params.k_set as usize, Tracked::Generated(new));
        let mut trace = FeatureTrace::new(lent, k_set, tracked, self.mask_id, steps).telling(tell);
        if params.until_stop {
            trace = trace.until(&self.info.eos_token_ids);
        }
        let prompts: Vec<Vec<i64>> = batch.iter().map(|&i| self.prompts[i].clone()).collect();
        let questions = batch.iter().map(|&i| &self.read.questions[i]);
        let item_ids: Vec<u64> = questions.clone().map(|question| question.index).collect();
        let model = &mut worker.subject_model(&params.model)?.model;
        let before = model.work().block_passes;
        let (generation, dlm_steps) = (&params.generation, self.denoising.dlm_steps);
        let request = denoising(generation, dlm_steps, &self.info, &prompts, &item_ids);
        let generated = denoise(model, remasker, &request, None, Some(&mut trace))?;
        let passes = model.work().block_passes - before;
        worker.counters.sae_rows += trace.sae_rows();
        worker.counters.generations += batch.len() as u64;
        worker.counters.batches += 1;
        worker.counters.denoising_steps += steps as u64;
        // Work is counted in rows × blocks; a batch's rows go through a block together.
        worker.counters.batch_block_passes += passes / batch.len() as u64;
        let texts = continuations(&self.codec, &generated, &self.info.eos_token_ids)?;
        let answers = questions
            .zip(texts)
            .enumerate()
            .map(|(r, (question, text))| {
                answer(params, question, text, steps_of(&generated, r, steps))
            });
        Ok(trace.finish().into_iter().zip(answers).collect())
    }
}

fn invalid(message: &str) -> CellError {
    CellError::Invalid(message.to_owned())
}

/// Steps until the last mask of row `r` was filled; all of them where one was left.
fn steps_of(generated: &Generated, r: usize, steps: usize) -> u32 {
    let t = generated.tokens.t();
    let row = &generated.decode_step[r * t..(r + 1) * t];
    let last = row.iter().copied().max().unwrap_or(-1);
    u32::try_from((last + 1).min(steps as i64)).unwrap_or(0)
}

fn answer(params: &DecodingParams, question: &Question, text: String, steps: u32) -> Answer {
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
