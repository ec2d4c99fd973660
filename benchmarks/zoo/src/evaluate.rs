//! Held-out measurements of a trained model.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, anyhow};
use decoder::{Decoder, Family, LoadOptions};
use harness_data::{Draws, Split, chat_tasks, count_well_formed, prefixes, stated_answer};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};
use tokenizers::Tokenizer;

use crate::batches::{ChatCorpus, Corpus, Shape, encode};
use crate::chat;
use crate::models::{Model, Objective};
use crate::objective;
use crate::sample::{Sampling, autoregressive, by_entropy};
use crate::tokenizer::Vocabulary;

const HELDOUT_DOCUMENTS: u64 = 3000;
const BATCHES: u64 = 24;
const SHAPE: Shape = Shape { rows: 16, len: 128 };
const SAMPLING: Sampling = Sampling {
    temperature: 0.7,
    top_p: 0.95,
    new_tokens: 30,
};
/// Generations from each of the fifty openings.
const PER_PREFIX: u64 = 2;
const CHAT_PROMPTS: u64 = 200;
/// A worked problem with two sums and its end needs more room than a sentence.
const CHAT_SAMPLING: Sampling = Sampling {
    new_tokens: 40,
    ..SAMPLING
};

/// What was measured of one model. Losses are in nats.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measurements {
    pub n_params: i64,
    /// Bytes of model.safetensors.
    pub bytes: u64,
    /// Optimiser steps.
    pub steps: usize,
    /// Tokens through the model.
    pub tokens: usize,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Held-out cost per token under the training set's token frequencies.
    pub unigram: f64,
    /// Held-out mean cost of the next token (autoregressive families).
    pub next_token: Option<f64>,
    /// Held-out mean cost of a masked token at mask rate 0.5 (diffusion families).
    pub masked_half: Option<f64>,
    /// Held-out bound of Eq. 7 per token (diffusion families).
    pub eq7: Option<f64>,
    /// The same on chat replies.
    pub reply_eq7: Option<f64>,
    /// Sentences of the generations that the grammar accepts, and those it refuses.
    pub sentences: (usize, usize),
    /// Chat problems solved, and asked.
    pub solved: Option<(usize, usize)>,
    /// Prompts and what was written.
    pub samples: Vec<(String, String)>,
}

impl Measurements {
    /// Accepted sentences over all that are not cut.
    pub fn well_formed(&self) -> f64 {
        let (good, bad) = self.sentences;
        good as f64 / (good + bad).max(1) as f64
    }
}

/// Measures the model in `<out>/<name>` as it lies there, in its stored precision widened to
/// float32.
///
/// # Errors
/// A folder that cannot be loaded.
pub fn evaluate(
    model: &Model,
    vocabulary: &Vocabulary,
    out: &Path,
    seed: u64,
) -> Result<Measurements> {
    let _no_grad = tch::no_grad_guard();
    let folder = out.join(model.name);
    let options = LoadOptions {
        kind: Kind::Float,
        device: Device::Cpu,
        ..LoadOptions::default()
    };
    let network = decoder::load(&folder, Some(model.family), &options)?;
    let network = network.as_ref();
    let tokenizer = vocabulary.tokenizer()?;
    let frame = model.frame(vocabulary)?;
    let heldout = Corpus::new(&tokenizer, frame, Split::Heldout, seed, HELDOUT_DOCUMENTS)?;
    let train = Corpus::new(&tokenizer, frame, Split::Train, seed, 4 * HELDOUT_DOCUMENTS)?;
    let mut found = Measurements {
        n_params: network.config().n_params(),
        bytes: std::fs::metadata(folder.join("model.safetensors"))?.len(),
        unigram: unigram(&train, &heldout, vocabulary.len()),
        ..Measurements::default()
    };
    let draws = |label: &str, i| Draws::new(&format!("{}/{label}", model.name), seed, i);
    if model.objective == Objective::NextToken {
        found.next_token = Some(mean(|i| {
            let ids = heldout.packed(&mut draws("heldout", i), SHAPE);
            Ok(objective::next_token(network, &ids)?
                .mean(Kind::Double)
                .double_value(&[]))
        })?);
    } else {
        found.masked_half = Some(mean(|i| {
            let batch = heldout.masked_for_evaluation(&mut draws("heldout", i), SHAPE, Some(0.5));
            Ok(objective::masked(network, &batch)?
                .mean(Kind::Double)
                .double_value(&[]))
        })?);
        found.eq7 = Some(mean(|i| {
            let batch = heldout.masked_for_evaluation(&mut draws("heldout", i), SHAPE, None);
            let costs = objective::masked(network, &batch)?;
            Ok(objective::eq7_per_token(&costs, &batch).double_value(&[]))
        })?);
    }
    if model.objective.is_reply() {
        let replies = ChatCorpus::new(
            &tokenizer,
            frame,
            (Split::Heldout, seed, HELDOUT_DOCUMENTS),
            128,
        )?;
        found.reply_eq7 = Some(mean(|i| {
            let batch = replies.masked(&mut draws("replies", i), SHAPE);
            let costs = objective::masked(network, &batch)?;
            Ok(objective::eq7_per_token(&costs, &batch).double_value(&[]))
        })?);
        answer_chat(model, network, &tokenizer, seed, &mut found)?;
    } else {
        continue_prefixes(model, network, &tokenizer, (frame.bos, seed), &mut found)?;
    }
    Ok(found)
}

/// Generations from the fifty openings.
fn continue_prefixes(
    model: &Model,
    network: &dyn Decoder,
    tokenizer: &Tokenizer,
    (bos, seed): (Option<i64>, u64),
    found: &mut Measurements,
) -> Result<()> {
    for (i, prefix) in prefixes().into_iter().enumerate() {
        for j in 0..PER_PREFIX {
            let mut prompt: Vec<i64> = bos.into_iter().collect();
            prompt.extend(encode(tokenizer, prefix)?);
            let draws = Draws::new(&format!("{}/generate/{j}", model.name), seed, i as u64);
            let ids = generate(model.family, network, &prompt, (SAMPLING, draws))?;
            let text = text(network, tokenizer, &ids[usize::from(bos.is_some())..])?;
            let (good, bad) = count_well_formed(&text);
            found.sentences.0 += good;
            found.sentences.1 += bad;
            if i % 7 == 0 && j == 0 {
                found.samples.push((prefix.to_owned(), text));
            }
        }
    }
    Ok(())
}

/// Replies to held-out chat tasks.
fn answer_chat(
    model: &Model,
    network: &dyn Decoder,
    tokenizer: &Tokenizer,
    seed: u64,
    found: &mut Measurements,
) -> Result<()> {
    let (mut solved, mut asked) = (0, 0);
    for (i, task) in chat_tasks(Split::Heldout, seed, CHAT_PROMPTS).enumerate() {
        let prompt = encode(tokenizer, &chat::prompt(&task.prompt))?;
        let draws = Draws::new(&format!("{}/chat", model.name), seed, i as u64);
        let ids = generate(model.family, network, &prompt, (CHAT_SAMPLING, draws))?;
        let whole = text(network, tokenizer, &ids[prompt.len()..])?;
        let reply = whole
            .split("<|im_end|>")
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        if task.answer.is_some() {
            asked += 1;
            solved += usize::from(stated_answer(&reply) == task.answer);
        }
        if matches!(task.task.as_str(), "write" | "solve") {
            let (good, bad) = count_well_formed(&reply);
            found.sentences.0 += good;
            found.sentences.1 += bad;
        }
        if i < 8 {
            found.samples.push((task.prompt, reply));
        }
    }
    found.solved = Some((solved, asked));
    Ok(())
}

fn generate(
    family: Family,
    network: &dyn Decoder,
    prompt: &[i64],
    (sampling, draws): (Sampling, Draws),
) -> Result<Vec<i64>> {
    match family {
        Family::Dream | Family::Llada => by_entropy(network, prompt, sampling, draws),
        _ => autoregressive(network, prompt, sampling, draws),
    }
}

/// The text up to the end-of-text token.
fn text(network: &dyn Decoder, tokenizer: &Tokenizer, ids: &[i64]) -> Result<String> {
    let eos = &network.config().special.eos;
    let ids: Vec<u32> = ids
        .iter()
        .take_while(|id| !eos.contains(id))
        .map(|&id| id as u32)
        .collect();
    tokenizer
        .decode(&ids, false)
        .map_err(|e| anyhow!("cannot decode: {e}"))
}

/// Mean of a measurement over the batches.
fn mean(mut measure: impl FnMut(u64) -> Result<f64>) -> Result<f64> {
    let mut sum = 0.0;
    for i in 0..BATCHES {
        sum += measure(i)?;
    }
    Ok(sum / BATCHES as f64)
}

/// Cross-entropy of held-out tokens under training frequencies, one added to every id's count.
fn unigram(train: &Corpus, heldout: &Corpus, n_ids: usize) -> f64 {
    let mut counts: HashMap<i64, f64> = HashMap::new();
    let mut total = n_ids as f64;
    for id in train.tokens() {
        *counts.entry(id).or_insert(1.0) += 1.0;
        total += 1.0;
    }
    let (sum, n) = heldout.tokens().fold((0.0, 0.0), |(sum, n), id| {
        (
            sum - (counts.get(&id).copied().unwrap_or(1.0) / total).ln(),
            n + 1.0,
        )
    });
    sum / n
}
