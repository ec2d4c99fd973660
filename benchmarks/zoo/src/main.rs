//! Trains the embedded models from nothing: `cargo xtask zoo`.

#![expect(
    clippy::print_stderr,
    reason = "it is a program for a person at a terminal"
)]

mod batches;
mod chat;
mod evaluate;
mod models;
mod objective;
mod optimizer;
mod report;
mod resume;
mod saes;
mod sample;
mod tokenizer;
mod train;
mod warm_start;

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::Parser;

use crate::evaluate::Measurements;
use crate::models::{LANES, Model};
use crate::train::{Options, Run};

/// Trains the models of the zoo, measures them and writes their folders and README.
///
/// The state of an unfinished training is kept every minute under OUT/.training; the same command
/// goes on from there and gives the same weights as one that was never stopped.
#[derive(Parser, Debug)]
#[command(name = "harness-zoo")]
struct Arguments {
    /// Only these models (repeatable): qwen, dream, dream-sft, dream-instruct, llama, llada, gpt2.
    /// What they start from must exist.
    #[arg(long)]
    only: Vec<String>,
    /// Where the folders go.
    #[arg(long, default_value = "benchmarks/zoo")]
    out: PathBuf,
    /// Key of everything random; text seeds included.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads of each of the two lanes.
    #[arg(long, default_value_t = 1)]
    threads: i32,
    /// Multiplies the number of training steps; 0.05 is a smoke test.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Most minutes of training for a whole lane; each model gets a share by its steps. The result
    /// then depends on the machine's speed, and the steps that were made are recorded.
    #[arg(long)]
    minutes: Option<f64>,
    /// Train nothing: measure what is there and write the README again.
    #[arg(long)]
    evaluate: bool,
    /// Train the SAEs of the models that are there, and no models. Needs what `cargo xtask build`
    /// makes.
    #[arg(long, conflicts_with_all = ["evaluate", "scale", "minutes"])]
    saes: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let known: Vec<&str> = LANES.iter().copied().flatten().map(|m| m.name).collect();
    if let Some(unknown) = arguments.only.iter().find(|n| !known.contains(&n.as_str())) {
        bail!(
            "no model is called {unknown}; there are {}",
            known.join(", ")
        );
    }
    if !(arguments.scale > 0.0 && arguments.scale.is_finite()) {
        bail!("--scale {} must be a positive number", arguments.scale);
    }
    if arguments.saes {
        return saes::train(&arguments.out, &arguments.only);
    }
    tch::set_num_threads(arguments.threads);
    std::fs::create_dir_all(&arguments.out)?;
    let lanes = std::thread::scope(|scope| {
        let handles: Vec<_> = LANES
            .iter()
            .map(|lane| scope.spawn(|| run_lane(lane, &arguments)))
            .collect();
        handles
            .into_iter()
            .map(|handle| {
                handle
                    .join()
                    .map_err(|_| anyhow!("a training lane panicked"))?
            })
            .collect::<Result<Vec<_>>>()
    })?;
    let mut all = report::read(&arguments.out)?;
    all.extend(lanes.into_iter().flatten());
    report::write(&arguments.out, &all)
}

/// Trains and measures the wanted models of a lane, in order.
fn run_lane(lane: &[Model], arguments: &Arguments) -> Result<Vec<(String, Measurements)>> {
    let before = report::read(&arguments.out)?;
    let wanted: Vec<&Model> = lane
        .iter()
        .filter(|m| arguments.only.is_empty() || arguments.only.iter().any(|n| n == m.name))
        .collect();
    let all_steps: usize = wanted.iter().map(|m| m.steps).sum();
    let mut done = Vec::new();
    for model in wanted {
        let share = |minutes: f64| minutes * model.steps as f64 / all_steps as f64;
        let options = Options {
            seed: arguments.seed,
            scale: arguments.scale,
            minutes: arguments.minutes.map(share),
        };
        let vocabulary = model.vocabulary()?;
        let run = if arguments.evaluate {
            let known = before.get(model.name).cloned().unwrap_or_default();
            Run {
                steps: known.steps,
                tokens: known.tokens,
                seconds: known.seconds,
            }
        } else {
            train::train(model, &vocabulary, &arguments.out, &options)?
        };
        let found = evaluate::evaluate(model, &vocabulary, &arguments.out, arguments.seed)?;
        eprintln!(
            "{:>9} held-out {:.3} nats (unigram {:.3}), {:.1} % of sentences well-formed",
            model.name,
            found.next_token.or(found.masked_half).unwrap_or(f64::NAN),
            found.unigram,
            100.0 * found.well_formed(),
        );
        done.push((
            model.name.to_owned(),
            Measurements {
                steps: run.steps,
                tokens: run.tokens,
                seconds: run.seconds,
                ..found
            },
        ));
    }
    Ok(done)
}
