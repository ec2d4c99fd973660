//! Trains one model and writes its folder.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use decoder::{Decoder, DecoderConfig, Initial, parameters};
use harness_data::{Draws, Split};
use tch::{Device, Kind, Tensor, no_grad};

use crate::batches::{ChatCorpus, Corpus, MaskedBatch, Shape};
use crate::models::{Model, Objective};
use crate::objective;
use crate::optimizer::{Optimizer, Rates};
use crate::resume::{Point, Resume};
use crate::tokenizer::Vocabulary;
use crate::warm_start;

/// Tokens of one optimiser step.
const STEP_TOKENS: usize = 2048;
/// Documents that training draws from.
const DOCUMENTS: u64 = 100_000;
const CHAT_TASKS: u64 = 40_000;
const RATES: Rates = Rates {
    muon: 0.02,
    adam: 0.004,
    decay: 0.1,
    clip: 1.0,
};
const WARM_UP_STEPS: usize = 50;
/// At most this much training is lost when the process ends before the model is written.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// Share of the steps at the full learning rate; then it falls to 0 in a straight line.
const STEADY: f64 = 0.4;

/// What the command line decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// Key of everything random.
    pub seed: u64,
    /// Multiplies every model's number of steps.
    pub scale: f64,
    /// Most minutes for this model; the schedule is shortened to fit.
    pub minutes: Option<f64>,
}

/// What a training run was.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Optimiser steps.
    pub steps: usize,
    /// Tokens through the model.
    pub tokens: usize,
    /// Wall-clock time.
    pub seconds: f64,
}

enum Source {
    Text(Corpus),
    Chat(ChatCorpus),
    ChatAndText(ChatCorpus, Corpus),
}

/// Share of word problems where the objective asks for more than the generator has: sums take
/// longer to learn than sentences.
const PROBLEMS: f64 = 0.5;
/// Shares of the steps of that objective that read plain text, and rows of sums.
const PLAIN: f64 = 0.1;
const SUMS: f64 = 0.45;

/// Trains `model` and writes `<out>/<name>`.
///
/// # Errors
/// A missing model to start from, a loss that is not finite, anything that cannot be written.
pub fn train(model: &Model, vocabulary: &Vocabulary, out: &Path, options: &Options) -> Result<Run> {
    let config = model.config(vocabulary)?;
    let tokenizer = vocabulary.tokenizer()?;
    let frame = model.frame(vocabulary)?;
    let store = tch::nn::VarStore::new(Device::Cpu);
    decoder::init(&config, &store.root())?; // registers the variables
    draw_weights(&config, &store.variables(), options.seed, model.name)?;
    if let Some(parent) = model.starts_from {
        warm_start::copy(&out.join(parent), vocabulary, &config, &store.variables())
            .with_context(|| format!("{} starts from {parent}; train that first", model.name))?;
    }
    let text = || Corpus::new(&tokenizer, frame, Split::Train, options.seed, DOCUMENTS);
    let chat = || {
        let tasks = (Split::Train, options.seed, CHAT_TASKS);
        ChatCorpus::new(&tokenizer, frame, tasks, 128)
    };
    let source = match model.objective {
        Objective::MaskedReply => Source::Chat(chat()?),
        Objective::MaskedReplyAndText => {
            Source::ChatAndText(chat()?.with_problems(PROBLEMS), text()?)
        }
        Objective::NextToken | Objective::Masked => Source::Text(text()?),
    };
    let rates = Rates {
        muon: RATES.muon * model.rate,
        adam: RATES.adam * model.rate,
        ..RATES
    };
    let share = |name: &str| match model.objective {
        Objective::MaskedReply => share_by_depth(name, config.n_layers),
        _ => 1.0,
    };
    let mut optimizer = Optimizer::new(&store, rates, share);
    let steps = ((model.steps as f64 * options.scale) as usize).max(10);
    let settings = serde_json::json!({
        "model": format!("{model:?}"), "rates": format!("{rates:?}"), "seed": options.seed,
        "steps": steps, "minutes": options.minutes,
    });
    let resume = Resume::new(out, model.name, &settings)?;
    let mut progress = Progress::new(model.name, steps);
    if let Some(point) = resume.restore(&mut optimizer)? {
        progress.go_on(&point);
    }
    let mut kept = Instant::now();
    while let Some(part) = progress.part(options.minutes) {
        let mut draws = Draws::new(model.name, options.seed, progress.done as u64);
        let network = halved(&config, &store.variables())?;
        let loss = step_loss(network.as_ref(), &source, model, &mut draws)?;
        let norm = optimizer.step(&loss, schedule(part, progress.done));
        progress.add(loss.double_value(&[]), norm)?;
        if kept.elapsed() > KEEP_EVERY {
            resume.keep(&optimizer, &progress.point())?;
            kept = Instant::now();
        }
    }
    let steps = progress.done;
    let folder = out.join(model.name);
    decoder::save_checkpoint(&folder, &config, store.variables(), Kind::BFloat16)?;
    for (name, text) in model.text_files(vocabulary)? {
        let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
        std::fs::write(&temporary, text)
            .with_context(|| format!("cannot write {}", temporary.display()))?;
        std::fs::rename(&temporary, folder.join(name))
            .with_context(|| format!("cannot write {name}"))?;
    }
    resume.remove()?;
    Ok(Run {
        steps,
        tokens: steps * STEP_TOKENS,
        seconds: progress.seconds(),
    })
}

fn step_loss(
    network: &dyn Decoder,
    source: &Source,
    model: &Model,
    draws: &mut Draws,
) -> Result<Tensor> {
    let shape = |len: usize| Shape {
        rows: STEP_TOKENS / len,
        len,
    };
    match (source, model.objective) {
        (Source::Text(corpus), Objective::NextToken) => {
            // GPT-2 learns its positions, so rows of its whole context have to occur.
            let whole = model.family == decoder::Family::Gpt2 && draws.chance(0.3);
            let len = if whole { 256 } else { 128 };
            Ok(
                objective::next_token(network, &corpus.packed(draws, shape(len)))?
                    .mean(Kind::Float),
            )
        }
        (Source::ChatAndText(chat, _), _) if !draws.chance(PLAIN) => {
            if draws.chance(SUMS / (1.0 - PLAIN)) {
                masked_loss(network, &chat.masked_sums(draws, shape(128)))
            } else {
                reply_loss(network, chat, draws)
            }
        }
        (Source::Chat(chat), _) => reply_loss(network, chat, draws),
        (Source::Text(corpus) | Source::ChatAndText(_, corpus), _) => {
            // Short rows are what generation looks like: an opening and 30 new tokens.
            let len = [36, 40, 48, 64, 128][draws.weighted([0.2, 0.2, 0.2, 0.2, 0.2].into_iter())];
            masked_loss(network, &corpus.masked(draws, shape(len)))
        }
    }
}

fn reply_loss(network: &dyn Decoder, chat: &ChatCorpus, draws: &mut Draws) -> Result<Tensor> {
    let len = [64, 96, 128][draws.below(3)];
    let shape = Shape {
        rows: STEP_TOKENS / len,
        len,
    };
    masked_loss(network, &chat.masked(draws, shape))
}

fn masked_loss(network: &dyn Decoder, batch: &MaskedBatch) -> Result<Tensor> {
    Ok(objective::eq7_per_token(
        &objective::masked(network, batch)?,
        batch,
    ))
}

/// The model on bfloat16 copies of its weights: twice as fast, and gradients flow back to the
/// float32 originals.
fn halved(config: &DecoderConfig, variables: &HashMap<String, Tensor>) -> Result<Box<dyn Decoder>> {
    let copies = variables
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.to_kind(Kind::BFloat16)))
        .collect();
    Ok(decoder::from_tensors(config, copies)?)
}

/// Share of the learning rate that a parameter has in a fine-tuning whose residuals should stay
/// those of its base: the square of its depth, next to nothing at the embedding and all of it in
/// the last block and above.
fn share_by_depth(name: &str, n_layers: i64) -> f64 {
    let block = name.split('.').find_map(|part| part.parse::<u32>().ok());
    let depth = match block {
        Some(block) => f64::from(block + 1) / n_layers as f64,
        None if name.contains("embed_tokens") => 0.0,
        None => 1.0,
    };
    depth * depth
}

/// Share of the peak learning rate when `part` of the training is done: up, steady, down to 0.
fn schedule(part: f64, step: usize) -> f64 {
    let up = (step + 1) as f64 / WARM_UP_STEPS as f64;
    let down = (1.0 - part) / (1.0 - STEADY);
    up.min(down).min(1.0)
}

/// Fresh weights from this crate's own streams: libtorch's generator is shared by all threads and
/// would make two lanes depend on each other. Twice the usual 0.02: these models are narrow.
fn draw_weights(
    config: &DecoderConfig,
    variables: &HashMap<String, Tensor>,
    seed: u64,
    name: &str,
) -> Result<()> {
    let mut draws = Draws::new(&format!("{name}/weights"), seed, 0);
    for spec in parameters(config) {
        let Initial::Normal { std_dev } = spec.initial else {
            continue;
        };
        let n: i64 = spec.shape.iter().product();
        let values: Vec<f32> = (0..n)
            .map(|_| (normal(&mut draws) * 2.0 * std_dev) as f32)
            .collect();
        let mut variable = variables
            .get(&spec.name)
            .with_context(|| format!("no variable {}", spec.name))?
            .shallow_clone();
        no_grad(|| variable.copy_(&Tensor::from_slice(&values).view(spec.shape.as_slice())));
    }
    Ok(())
}

/// A standard normal number, by Box and Muller.
fn normal(draws: &mut Draws) -> f64 {
    let radius = (-2.0 * (1.0 - draws.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * draws.unit()).cos()
}

/// The line on stderr.
struct Progress {
    name: &'static str,
    steps: usize,
    done: usize,
    loss: f64,
    shown: usize,
    /// Seconds of training before this process.
    earlier: f64,
    started: Instant,
}

impl Progress {
    fn new(name: &'static str, steps: usize) -> Self {
        Self {
            name,
            steps,
            done: 0,
            loss: 0.0,
            shown: 0,
            earlier: 0.0,
            started: Instant::now(),
        }
    }

    fn go_on(&mut self, point: &Point) {
        (self.done, self.earlier) = (point.steps, point.seconds);
        (self.loss, self.shown) = (0.0, point.steps);
        eprintln!("{:>9} goes on after step {}", self.name, point.steps);
    }

    fn point(&self) -> Point {
        Point {
            steps: self.done,
            seconds: self.seconds(),
        }
    }

    fn seconds(&self) -> f64 {
        self.earlier + self.started.elapsed().as_secs_f64()
    }

    /// The part of the training that is done, or `None` at its end.
    fn part(&self, minutes: Option<f64>) -> Option<f64> {
        let by_steps = self.done as f64 / self.steps as f64;
        let by_time = minutes.map_or(0.0, |m| self.seconds() / (60.0 * m));
        Some(by_steps.max(by_time)).filter(|part| *part < 1.0)
    }

    fn add(&mut self, loss: f64, norm: f64) -> Result<()> {
        if !loss.is_finite() || !norm.is_finite() {
            bail!(
                "{}: step {} has loss {loss} and gradient norm {norm}; nothing was saved",
                self.name,
                self.done
            );
        }
        self.done += 1;
        self.loss += loss;
        if self.done.is_multiple_of(100) || self.done == self.steps {
            let seconds = self.seconds();
            eprintln!(
                "{:>9} {:>5}/{} steps  loss {:.3}  gradient {norm:.2}  {:.0} tokens/s  {seconds:.0} s",
                self.name,
                self.done,
                self.steps,
                self.loss / (self.done - self.shown) as f64,
                (self.done * STEP_TOKENS) as f64 / seconds,
            );
            (self.loss, self.shown) = (0.0, self.done);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_with_depth() {
        for (name, share) in [
            ("model.embed_tokens.weight", 0.0),
            ("model.layers.0.mlp.up_proj.weight", 1.0 / 64.0),
            ("model.layers.3.input_layernorm.weight", 0.25),
            ("model.layers.7.self_attn.q_proj.bias", 1.0),
            ("model.norm.weight", 1.0),
            ("lm_head.weight", 1.0),
        ] {
            assert_eq!(share_by_depth(name, 8), share, "{name}");
        }
    }
}
