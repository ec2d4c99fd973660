//! `harness generate`: continues one text, and shows how.

use std::time::Instant;

use harness_contract::{
    exit,
    jobs::{Event, GenerateJob},
    protocol::LogLevel,
    sources::Checkpoint,
};
use serde_json::{Value, json};

use super::{Sink, open_plugins, options, tokenizer};
use crate::{
    error::CellError,
    generate::{
        AutoregressRequest, DenoiseRequest, GenerateError, Observer, OrderDraws, Sampling,
        SamplingRule, StepReport, autoregress, continuations, denoise, token_ids,
    },
    plugin::{LoadOptions, Model, Objective, Registry},
    prompt::{check_length, has_text},
    text::{ChatMessage, TextCodec},
};

/// Order of a masked-diffusion model when none is named.
const DEFAULT_ORDER: &str = "entropy";

/// What each step revealed.
struct Steps<'a> {
    codec: &'a TextCodec,
    prompt: usize,
    mask_id: Option<i64>,
    shown: Vec<Value>,
}

impl Observer for Steps<'_> {
    fn step(&mut self, report: &StepReport<'_>) -> Result<(), GenerateError> {
        let start = report.after.pad().first().copied().unwrap_or(0);
        let row = report.after.row(0);
        // The prompt stays in front: the first new token may complete a character of it.
        let pieces = self
            .codec
            .pieces(&token_ids(row)?, self.prompt..row.len())?;
        let is_mask = |token: &i64| Some(*token) == self.mask_id;
        let shown = row[self.prompt..].iter().zip(&pieces);
        let text: String = shown
            .map(|(token, piece)| if is_mask(token) { "▁" } else { piece })
            .collect();
        let revealed: Vec<Value> = (report.revealed[start..].iter().zip(row).enumerate())
            .filter(|(_, (revealed, _))| **revealed)
            .map(|(position, (_, &token))| {
                let id = token_ids(&[token])?[0];
                let piece = match position.checked_sub(self.prompt) {
                    // A part of a character is shown with the rest once that is there.
                    Some(new) => pieces[new].clone(),
                    None => self.codec.piece(id)?,
                };
                Ok(json!({
                    "position": position.saturating_sub(self.prompt),
                    "token": piece,
                }))
            })
            .collect::<Result<_, GenerateError>>()?;
        self.shown
            .push(json!({"step": report.step, "text": text, "revealed": revealed}));
        Ok(())
    }
}

/// Result: `{"text", "tokens", "prompt_tokens", "steps"}`.
///
/// # Errors
/// A model, plugin or prompt that cannot be used.
pub fn run(job: &GenerateJob, sink: Sink<'_>) -> Result<u8, CellError> {
    let compute = LoadOptions {
        allow_nan: job.allow_nan,
        ..options(&job.compute)?
    };
    let registry = open_plugins(&job.plugins)?;
    let checkpoint = Checkpoint::read("model", &job.model)
        .map_err(|error| CellError::BadInput(error.to_string()))?;
    let mut model = registry.model_for_type(&checkpoint.model_type)?;
    let info = model.load(&job.model, compute)?;
    let codec = tokenizer(&job.model, &info, sink)?;
    let ids = if job.chat {
        let messages = [ChatMessage::user(job.prompt.as_str())];
        codec.encode(&codec.render_chat(&messages, true)?, false)?
    } else {
        codec.encode(&job.prompt, true)?
    };
    if !has_text(&codec, &info, &ids) {
        return Err(CellError::BadInput(
            "the prompt holds no text (it is empty, or special tokens alone); give some with --prompt"
                .to_owned(),
        ));
    }
    check_length(&info, ids.len(), job.max_new_tokens as usize)?;
    let prompt: Vec<i64> = ids.into_iter().map(i64::from).collect();
    let mut steps = Steps {
        codec: &codec,
        prompt: prompt.len(),
        mask_id: info.mask_token_id,
        shown: Vec::new(),
    };
    let prompt_tokens = prompt.len();
    let started = Instant::now();
    let generated = continue_prompt(job, &registry, &mut model, prompt, &mut steps)?;
    let (n, seconds) = (
        generated.continuation(0).len(),
        started.elapsed().as_secs_f64(),
    );
    sink(Event::Log {
        level: LogLevel::Info,
        message: format!(
            "{n} tokens in {seconds:.1} s: {:.1} tokens/s",
            n as f64 / seconds
        ),
    });
    let text = continuations(&codec, &generated, &info.eos_token_ids)?;
    sink(Event::Result {
        value: json!({
            "text": text.first(),
            "tokens": generated.continuation(0),
            "prompt_tokens": prompt_tokens,
            "steps": steps.shown,
        }),
    });
    Ok(exit::OK)
}

fn continue_prompt(
    job: &GenerateJob,
    registry: &Registry,
    model: &mut Model,
    prompt: Vec<i64>,
    steps: &mut Steps<'_>,
) -> Result<crate::generate::Generated, CellError> {
    let sampling = Sampling {
        temperature: job.temperature,
        top_p: job.top_p,
        top_k: job.top_k.map(|k| k as usize),
        rule: SamplingRule::of(model.info()?),
    };
    let observer: Option<&mut dyn Observer> = if job.show_steps { Some(steps) } else { None };
    let max_new_tokens = job.max_new_tokens as usize;
    if model.info()?.objective == Objective::Autoregressive {
        if job.order.is_some() || job.steps.is_some() || job.block_length.is_some() {
            return Err(CellError::Invalid(
                "an autoregressive model has no --order, --steps or --block-length: it writes one token after another"
                    .to_owned(),
            ));
        }
        let request = AutoregressRequest {
            prompts: &[prompt],
            item_ids: &[0],
            max_new_tokens,
            stop_ids: None,
            sampling,
            seed: job.seed,
        };
        return Ok(autoregress(model, &request, None, observer)?);
    }
    let order = job.order.as_deref().unwrap_or(DEFAULT_ORDER);
    let mut remasker = registry.remasker(order, &job.order_config)?;
    let request = DenoiseRequest {
        prompts: &[prompt],
        item_ids: &[0],
        max_new_tokens,
        steps: job.steps.map_or(max_new_tokens, |steps| steps as usize),
        block_length: job.block_length.map(|length| length as usize),
        sampling,
        cfg_scale: job.cfg_scale,
        seed: job.seed,
        order_draws: &OrderDraws::Counter,
    };
    Ok(denoise(model, &mut remasker, &request, None, observer)?)
}
