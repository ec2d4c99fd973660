//! `harness train`: Top-K SAEs for a whole grid of layers, k and policies from one stream of model
//! passes.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use harness_contract::{
    exit,
    jobs::{Event, Job, TrainJob},
    protocol::FailureKind,
    sources::ModelFolder,
    stages::Dtype,
};
use harness_plan::{
    expand::EMBEDDED,
    sources::{Answers, TextFiles},
};
use harness_supervise::{Ended, JobEvent, run_watched};
use serde_json::Value;

use super::{bench::zoo_text, generate::model_dir};

use crate::{
    args::{self, ComputeArgs, PluginDirs},
    failure::Failure,
    folders::{self, Query},
    output,
    plugins::Plugins,
    progress::Progress,
};

/// Train SAEs for a grid of layers, k and policies from one stream of model passes.
///
/// A run that is interrupted (Ctrl-C, SIGTERM, SIGUSR1) writes a checkpoint and ends with 75; it
/// goes on from there, with the same result, when the same command is given again.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  An embedded model, on its own text, in a minute or two:\n    harness train --model dream --policies mask,unmask --layers 2,5 --k 8,24 --d-sae 320 --tokens 500000 \\\n        --batch 512 --model-batch 16 --context-length 96 --out ./saes --plugins ./plugins\n    harness bench table2 --saes dream-mask=./saes/mask --layers 2,5 --plugins ./plugins --dry-run\n\n  Dream-7B as in the paper:\n    harness train --model /models/Dream-7B --policies mask,unmask --layers 1,5,10,14,23,27 --k 50,80,160,320,520,820 \\\n        --d-sae 16384 --tokens 150000000 --data text.jsonl.gz --dtype bf16 --device cuda:0 --out ./saes --plugins ./plugins\n\n\
    In --out: a set for each policy (`harness inspect` lists it), training.csv with loss, EV, L0 and dead latents as they went,\n\
    and beside the layers of each set runtime.json with the time it took."
)]
pub struct TrainArgs {
    /// Checkpoint folder, or the name of an embedded model
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    plugins: PluginDirs,
    /// Text: jsonl, json, csv or plain text, each also as .gz or .zst; parquet; a folder of them;
    /// or `embedded` for the embedded models' own [default: `embedded`, for embedded models alone]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Field or column of the files that holds the text
    #[arg(long, default_value = "text", value_name = "NAME")]
    text_field: String,
    /// Folder of the sets: POLICY/resid_post_layer_L/trainer_i
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Blocks whose output is encoded, from 0
    #[arg(long, value_delimiter = ',', required = true)]
    layers: Vec<u32>,
    /// Active budgets
    #[arg(long, value_delimiter = ',', required = true, value_parser = clap::value_parser!(u32).range(1..))]
    k: Vec<u32>,
    /// Positions trained on: mask and unmask (masked-diffusion models), clean [default of
    /// autoregressive models: clean]
    #[arg(long, value_delimiter = ',', value_parser = ["mask", "unmask", "clean"])]
    policies: Vec<String>,
    /// Latents
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    d_sae: u32,
    /// Activations each SAE is trained on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    tokens: u64,
    /// Tokens of a text
    #[arg(long, default_value_t = 2048, value_name = "N")]
    context_length: u32,
    /// Texts of a model pass
    #[arg(long, default_value_t = 8, value_name = "N")]
    model_batch: u32,
    /// Activations of an optimiser step
    #[arg(long, default_value_t = 2048, value_name = "N")]
    batch: u32,
    /// Activations held and shuffled [default: 250000, at most a tenth of the run]
    #[arg(long, value_name = "N")]
    buffer: Option<u64>,
    /// Memory for them, as 8G or bytes; in files below --out where they take more, with the same
    /// result [default: half of what is free]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    buffer_memory: Option<u64>,
    /// Read the text again, with other masks, where it is too short; otherwise that is an error,
    /// said before anything is trained
    #[arg(long)]
    allow_short: bool,
    /// Share of the rows of the text that may be unusable: they are passed over and counted
    /// [default: 0.001]
    #[arg(long, value_name = "SHARE")]
    max_bad_rows: Option<f64>,
    /// Number format of the trainer's large products, f32 or bf16; its parameters are f32 [default:
    /// that of --dtype]
    #[arg(long, value_name = "DTYPE")]
    product_dtype: Option<Dtype>,
    /// Learning rate
    #[arg(long, default_value_t = 3e-4)]
    lr: f64,
    /// Steps of linear warm-up [default: 1000, at most a tenth of the run]
    #[arg(long, value_name = "N")]
    warmup_steps: Option<u32>,
    /// Share of the run after which the rate falls to 0
    #[arg(long, default_value_t = 0.8, value_name = "SHARE")]
    decay_start: f64,
    /// Tokens without activation after which a latent is dead [default: 10000000, at most a tenth
    /// of the run]
    #[arg(long, value_name = "N")]
    dead_after: Option<u64>,
    /// Weight of the auxiliary loss
    #[arg(long, default_value_t = 0.03125, value_name = "W")]
    auxk_alpha: f64,
    /// Smallest share of masked tokens
    #[arg(long, default_value_t = 0.05, value_name = "T")]
    t_min: f64,
    /// Largest share of masked tokens
    #[arg(long, default_value_t = 0.5, value_name = "T")]
    t_max: f64,
    /// Seed of masks, shuffles and initial weights
    #[arg(long, default_value_t = 3407)]
    seed: u64,
    /// Steps between checkpoints from which a run goes on; one is written every 5 minutes in any
    /// case
    #[arg(long, default_value_t = 500, value_name = "N")]
    checkpoint_every: u32,
    /// Steps between rows of training.csv: loss, EV, L0 and dead latents of each SAE
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    log_every: u32,
    /// saelens or dictionary_learning
    #[arg(long, default_value = "saelens", value_parser = ["saelens", "dictionary_learning"])]
    format: String,
    /// Number format of the written weights: f32 or bf16
    #[arg(long, default_value = "f32")]
    save_dtype: Dtype,
    /// SAE architecture
    #[arg(long, default_value = "topk", value_name = "NAME")]
    architecture: String,
    #[command(flatten)]
    compute: ComputeArgs,
}

pub fn run(args: &TrainArgs) -> Result<u8, Failure> {
    let job = Job::Train(Box::new(job(args)?));
    let mut progress = Progress::start(0, "steps").eager();
    progress.describe("starting");
    let mut failure = None;
    let ended = run_watched::<Failure>(&args.compute.launch()?, &job, |event| {
        match event {
            JobEvent::Event(Event::Progress {
                done,
                total,
                text,
                seconds_left,
            }) => {
                let left =
                    seconds_left.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                progress.set_left(done, total, left);
                // The bar says the unit already.
                progress.describe(&output::sanitize(text.trim_start_matches("steps · ")));
            }
            JobEvent::Event(Event::Result { value }) => {
                progress.finish();
                output::result(&line(&value))?;
            }
            JobEvent::Event(Event::Failed(why)) => failure = Some(why),
            JobEvent::Event(Event::Log { message, .. }) => {
                progress.talk(&output::sanitize(&message))
            }
            JobEvent::Stopping => {
                progress.talk("stopping after a checkpoint; a second Ctrl-C ends it at once");
            }
            JobEvent::Quiet => progress.tick(Instant::now()),
        }
        Ok(())
    });
    progress.finish();
    let goes_on = "the same command goes on from there";
    match (failure, ended?) {
        (Some(failure), _) => match failure.kind {
            FailureKind::Interrupted => Err(Failure::from(failure).hint(goes_on)),
            _ => Err(failure.into()),
        },
        (None, Ended::Died(message)) => Err(Failure::new(exit::UNEXPECTED, message)
            .hint("the same command goes on from the last checkpoint")),
        (None, Ended::Code(exit::INTERRUPTED)) => {
            Err(Failure::new(exit::INTERRUPTED, "interrupted")
                .hint("the same command goes on from the last checkpoint"))
        }
        (None, Ended::Code(code)) => Ok(code),
    }
}

fn job(args: &TrainArgs) -> Result<TrainJob, Failure> {
    let model = model_dir(&args.model)?;
    let query = Query {
        models: vec![model.clone()],
        ..Query::default()
    };
    let plugins = Plugins::found(args.plugins.choice()?)?;
    let folder = folders::ask(&plugins, query, Answers::default())?.read_model("model", &model)?;
    let policies = policies(args, &folder);
    check(args, &policies, &folder)?;
    fs::create_dir_all(&args.out).map_err(|error| {
        let message = format!("cannot write to --out {}: {error}", args.out.display());
        Failure::new(exit::CANNOT_WRITE, message)
    })?;
    let is_embedded = model != args::expanded(&args.model);
    let words = [Path::new(EMBEDDED)];
    let data = match (args.data.as_slice(), is_embedded) {
        (files, _) if files == words => vec![zoo_text::train_file(&args.out)?],
        ([], true) => vec![zoo_text::train_file(&args.out)?],
        ([], false) => {
            let message = "a checkpoint of yours needs text to be trained on";
            return Err(Failure::new(exit::CONFIG, message).hint(
                "add --data FILE (jsonl, json, csv or text, also as .gz or .zst, or parquet), or say --data embedded for the text of the embedded models",
            ));
        }
        (files, _) => {
            let found = TextFiles::of(files)?;
            for note in &found.notes {
                output::talk(&output::sanitize(note));
            }
            found.files
        }
    };
    let whose = match args.data.is_empty() || args.data == words {
        true => "the embedded generated text".to_owned(),
        false => TextFiles::names(&data),
    };
    output::talk(&output::sanitize(&format!(
        "training on {whose}, with activations of {}",
        folder.checkpoint.own_name()
    )));
    let steps = args.tokens / u64::from(args.batch.max(1));
    let tenth = |n: u64| (n / 10).max(1);
    let sorted = |mut numbers: Vec<u32>| {
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    Ok(TrainJob {
        model_name: args
            .model
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        model,
        plugins: args.plugins.to_open()?,
        data,
        out: args.out.clone(),
        architecture: args.architecture.clone(),
        layers: sorted(args.layers.clone()),
        k: sorted(args.k.clone()),
        policies,
        d_sae: args.d_sae,
        tokens: args.tokens,
        context_length: args.context_length,
        model_batch: args.model_batch,
        batch: args.batch,
        buffer: args.buffer.unwrap_or_else(|| {
            // A few steps' worth at least, or nothing would be shuffled.
            tenth(args.tokens).clamp(
                4 * u64::from(args.batch),
                250_000.max(4 * u64::from(args.batch)),
            )
        }),
        buffer_memory: args.buffer_memory,
        product_dtype: args.product_dtype.unwrap_or(args.compute.dtype),
        text_field: args.text_field.clone(),
        allow_short: args.allow_short,
        max_bad_rows: args.max_bad_rows,
        lr: args.lr,
        warmup_steps: args
            .warmup_steps
            .unwrap_or_else(|| u32::try_from(tenth(steps).min(1000)).unwrap_or(1000)),
        decay_start: args.decay_start,
        dead_after: args
            .dead_after
            .unwrap_or_else(|| tenth(args.tokens).min(10_000_000)),
        auxk_alpha: args.auxk_alpha,
        t_min: args.t_min,
        t_max: args.t_max,
        seed: args.seed,
        checkpoint_every: args.checkpoint_every,
        log_every: args.log_every,
        format: args.format.clone(),
        save_dtype: args.save_dtype,
        compute: args.compute.compute(),
    })
}

/// A number of bytes, with K, M, G or T for powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no number of bytes; write 500M, 8G or a whole number");
    let (number, unit) = match text.char_indices().last() {
        Some((at, c)) if c.is_ascii_alphabetic() => (&text[..at], Some(c.to_ascii_uppercase())),
        _ => (text, None),
    };
    let power = match unit {
        None => 0,
        Some(unit) => 1 + "KMGT".find(unit).ok_or_else(wrong)? as u32,
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1024u64.pow(power)).ok_or_else(wrong)
}

/// The positions trained on. A model without masks has one choice, which need not be said.
fn policies(args: &TrainArgs, folder: &ModelFolder) -> Vec<String> {
    match args.policies.is_empty() && !folder.is_diffusion {
        true => vec!["clean".to_owned()],
        false => args.policies.clone(),
    }
}

/// Everything that does not fit the model, in one message, before anything is loaded.
fn check(args: &TrainArgs, policies: &[String], folder: &ModelFolder) -> Result<(), Failure> {
    let mut problems = Vec::new();
    if policies.is_empty() {
        problems.push(format!(
            "{} is a masked-diffusion model: say with --policies which positions to train on (mask,unmask as in the \
             paper; clean for unmasked text)",
            folder.checkpoint.model_type
        ));
    }
    for layer in args.layers.iter().filter(|l| **l >= folder.n_layers) {
        problems.push(format!(
            "layer {layer} out of range: the model has {} blocks, 0 to {}",
            folder.n_layers,
            folder.n_layers - 1
        ));
    }
    for k in args.k.iter().filter(|k| **k > args.d_sae) {
        problems.push(format!(
            "--k {k} is more than the {} latents of --d-sae",
            args.d_sae
        ));
    }
    if !folder.is_diffusion {
        for policy in policies.iter().filter(|p| *p != "clean") {
            problems.push(format!(
                "--policies {policy}: {} has no mask token; use clean",
                folder.checkpoint.model_type
            ));
        }
    }
    let is_share = |x: f64| x > 0.0 && x <= 1.0;
    if !(is_share(args.t_min) && is_share(args.t_max) && args.t_min <= args.t_max) {
        problems.push(format!(
            "--t-min {} and --t-max {} must be shares above 0, in order",
            args.t_min, args.t_max
        ));
    }
    if !(args.lr > 0.0 && args.lr.is_finite()) {
        problems.push(format!("--lr {} must be positive", args.lr));
    }
    if let Some(share) = args.max_bad_rows.filter(|x| !(0.0..=1.0).contains(x)) {
        problems.push(format!(
            "--max-bad-rows {share} must be a share from 0 to 1"
        ));
    }
    if !is_share(args.decay_start) {
        problems.push(format!(
            "--decay-start {} must be above 0 and at most 1",
            args.decay_start
        ));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::new(exit::CONFIG, problems.join("\n       ")))
}

/// A trained SAE with what was measured over its last steps, as `key value`.
fn line(value: &Value) -> String {
    let Some(object) = value.as_object() else {
        return output::sanitize(&value.to_string());
    };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => short(number.as_f64().unwrap_or(f64::NAN)),
        other => other.to_string(),
    };
    let fields: Vec<String> = object
        .iter()
        .map(|(key, value)| format!("{key} {}", text(value)))
        .collect();
    output::sanitize(&fields.join("  "))
}

/// A number with four decimals, without trailing zeros.
fn short(x: f64) -> String {
    let text = format!("{x:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("8G"), Ok(8 << 30));
        assert_eq!(bytes("500m"), Ok(500 << 20));
        assert_eq!(bytes("12345"), Ok(12345));
        for wrong in ["", "G", "1.5G", "8GB", "-1", "99999999999T"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_trained_sae_is_a_line() {
        let value = json!({"policy": "mask", "layer": 2, "k": 8, "ev": 0.46765477, "l0": 8.0, "path": "mask/x"});
        assert_eq!(
            line(&value),
            "policy mask  layer 2  k 8  ev 0.4677  l0 8  path mask/x"
        );
    }
}
