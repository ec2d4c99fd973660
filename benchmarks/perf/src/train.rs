//! Training a grid of SAEs from one stream, against layer by layer with dense gradients.
//!
//! ```text
//! harness-perf train [PLUGINS_DIR] [--steps N] [--ev-steps N] [--batch N] [--dtype f32|bf16] [--threads N] [--layers N] [--k K,K,…]
//! ```
//! Ours is `harness train` as it is. The baseline is one run for each layer, in which libtorch's autograd and Adam train the
//! layer's SAEs with dense activations ([`dense`]); it goes through the same text, passes, masks and shuffles, starts from the
//! same weights and makes the same steps in the same number format. Its passes end at its layer.
//!
//! Of both the first step of each SAE is left out, which makes the weights and finds the median of the batch; so is what a run
//! does once, reading the model and writing files. Explained variance is compared in a longer run of two SAEs.

mod clock;
mod dense;

use std::{fs, io::Write, path::PathBuf, rc::Rc};

use crate::checkpoint;
use anyhow::{Context, Result, bail, ensure};
use harness_contract::{
    jobs::{Compute, TrainJob},
    plugin::PluginChoice,
    runtime::Runtime,
    stages::Dtype,
};
use harness_engine::{
    plugin::Registry,
    train::{self, Learner},
};
use serde_json::{Value, json};

use self::{
    clock::{Excluded, Time, Warm},
    dense::Dense,
};

/// Blocks of the model; SAEs stand after every second one.
const BLOCKS: i64 = 12;
/// Width of its residual stream.
const D_MODEL: i64 = 512;
/// Latents.
const D_SAE: u32 = 8192;
/// Steps at the end over which explained variance is averaged.
const EV_OVER: u32 = 20;

struct Plan {
    plugins: PathBuf,
    steps: u32,
    ev_steps: u32,
    batch: u32,
    dtype: Dtype,
    threads: u32,
    layers: Vec<u32>,
    k: Vec<u32>,
}

impl Plan {
    fn read(arguments: &[String]) -> Result<Self> {
        let mut plan = Self {
            plugins: PathBuf::from("plugins"),
            steps: 5,
            ev_steps: 120,
            batch: 512,
            dtype: Dtype::Bf16,
            threads: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
            layers: (0..6).map(|i| 2 * i + 1).collect(),
            // The paper's sweep, by the share of its width.
            k: vec![25, 40, 80, 160, 260, 410],
        };
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            if !name.starts_with("--") {
                plan.plugins = PathBuf::from(name);
                continue;
            }
            let value = arguments
                .next()
                .with_context(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--steps" => plan.steps = value.parse()?,
                "--ev-steps" => plan.ev_steps = value.parse()?,
                "--batch" => plan.batch = value.parse()?,
                "--threads" => plan.threads = value.parse()?,
                "--dtype" => plan.dtype = serde_json::from_value(json!(value))?,
                "--layers" => plan.layers.truncate(value.parse()?),
                "--k" => plan.k = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
                _ => bail!(
                    "{name}: known are --steps, --ev-steps, --batch, --dtype, --threads, --layers and --k"
                ),
            }
        }
        ensure!(plan.steps >= 2, "--steps: at least 2");
        ensure!(plan.ev_steps >= EV_OVER, "--ev-steps: at least {EV_OVER}");
        Ok(plan)
    }

    fn job(&self, files: &Files, out: &str, steps: u32, layers: &[u32], k: &[u32]) -> TrainJob {
        let tokens = u64::from(steps) * u64::from(self.batch);
        TrainJob {
            model: files.model.clone(),
            model_name: "random".to_owned(),
            plugins: PluginChoice::of(std::slice::from_ref(&self.plugins)),
            data: vec![files.text.clone()],
            out: files.folder.path().join(out),
            architecture: "topk".to_owned(),
            layers: layers.to_vec(),
            k: k.to_vec(),
            policies: vec!["mask".to_owned()],
            d_sae: D_SAE,
            tokens,
            context_length: 256,
            model_batch: 8,
            batch: self.batch,
            buffer: tokens.div_ceil(3).max(u64::from(self.batch)),
            buffer_memory: None,
            lr: 2e-3,
            // One step of rate 0, so that the baseline can be given the weights that ours starts with.
            warmup_steps: 1,
            decay_start: 0.8,
            dead_after: 10_000_000,
            auxk_alpha: 0.03125,
            product_dtype: self.dtype,
            allow_short: false,
            max_bad_rows: None,
            text_field: "text".to_owned(),
            t_min: 0.05,
            t_max: 0.5,
            seed: 3407,
            checkpoint_every: u32::MAX,
            log_every: 1,
            format: "saelens".to_owned(),
            save_dtype: Dtype::Bf16,
            compute: Compute {
                device: "cpu".to_owned(),
                dtype: self.dtype,
                threads: self.threads,
                reproducible: false,
            },
        }
    }
}

/// What both ways read, in a folder that ends with the bench.
struct Files {
    folder: tempfile::TempDir,
    model: PathBuf,
    text: PathBuf,
}

/// What a way of training took and reached.
#[derive(Default)]
struct Took {
    /// Passes, rows and steps, the first step of each SAE left out.
    work: Time,
    model: f64,
    buffer: f64,
    steps: f64,
    /// Of each SAE, by layer and k.
    ev: Vec<f64>,
}

/// Measures both and prints them.
///
/// # Errors
/// Arguments, plugins or files that cannot be used; an explained variance off by more than 0.5 %.
pub fn run(arguments: &[String]) -> Result<()> {
    let plan = Plan::read(arguments)?;
    let folder = tempfile::tempdir()?;
    let files = Files {
        model: folder.path().join("model"),
        text: folder.path().join("text.jsonl"),
        folder,
    };
    let zoo = plan.plugins.join("../benchmarks/zoo/dream");
    checkpoint::write(&files.model, &zoo, D_MODEL, BLOCKS)?;
    let most = u64::from(plan.steps.max(plan.ev_steps)) * u64::from(plan.batch);
    checkpoint::write_text(&files.text, most)?;
    let registry = Registry::load(std::slice::from_ref(&plan.plugins))?;
    let mut out = std::io::stdout().lock();
    let n = plan.layers.len() * plan.k.len();
    writeln!(
        out,
        "{n} SAEs ({} layers x k {:?}), d {D_MODEL}, width {D_SAE}, {BLOCKS} blocks, {} steps of {} activations, {:?}, {} threads",
        plan.layers.len(),
        plan.k,
        plan.steps,
        plan.batch,
        plan.dtype,
        plan.threads,
    )?;
    let job = plan.job(&files, "ours", plan.steps, &plan.layers, &plan.k);
    let ours = ours(&job, &registry)?;
    let mut theirs = Took::default();
    for layer in &plan.layers {
        let out = format!("theirs-{layer}");
        let job = plan.job(&files, &out, plan.steps, &[*layer], &plan.k);
        let took = baseline(&job, &registry)?;
        theirs.work += took.work;
        theirs.model += took.model;
        theirs.buffer += took.buffer;
        theirs.steps += took.steps;
    }
    writeln!(
        out,
        "{:<34}{:>10}{:>10}{:>10}{:>10}{:>10}{:>14}",
        "", "wall s", "CPU s", "passes s", "rows s", "steps s", "SAE steps/s"
    )?;
    let steps = (n as u32 * (plan.steps - 1)) as f64;
    for (name, took) in [
        ("one stream, sparse gradients", &ours),
        ("layer by layer, dense gradients", &theirs),
    ] {
        writeln!(
            out,
            "{name:<34}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>10.1}{:>14.1}",
            took.work.wall,
            took.work.cpu,
            took.model,
            took.buffer,
            took.steps,
            steps / took.steps
        )?;
    }
    writeln!(
        out,
        "times faster: {:.2} by the clock, {:.2} in CPU time; {:.2} in passes, {:.2} in optimiser steps",
        theirs.work.wall / ours.work.wall,
        theirs.work.cpu / ours.work.cpu,
        theirs.model / ours.model,
        theirs.steps / ours.steps
    )?;
    explained_variance(&plan, &files, &registry, &mut out)
}

/// Two SAEs of one layer for longer, both ways.
fn explained_variance(
    plan: &Plan,
    files: &Files,
    registry: &Registry,
    out: &mut impl Write,
) -> Result<()> {
    let layer = plan.layers[plan.layers.len() / 2];
    let mut k = vec![plan.k[0], plan.k[plan.k.len() / 2]];
    k.dedup();
    let job = |name: &str| plan.job(files, name, plan.ev_steps, &[layer], &k);
    let a = ours(&job("ours-ev"), registry)?.ev;
    let b = baseline(&job("theirs-ev"), registry)?.ev;
    let mut largest = 0f64;
    for (k, (a, b)) in k.iter().zip(a.iter().zip(&b)) {
        let off = a / b - 1.0;
        largest = largest.max(off.abs());
        writeln!(
            out,
            "EV of layer {layer}, k {k}, steps {} to {}: {a:.5} and {b:.5}, {:+.3} %",
            plan.ev_steps - EV_OVER + 1,
            plan.ev_steps,
            100.0 * off
        )?;
    }
    ensure!(
        largest <= 0.005,
        "explained variance is off by {:.3} %, 0.5 % is the limit",
        100.0 * largest
    );
    Ok(())
}

/// `harness train` as it is.
fn ours(job: &TrainJob, registry: &Registry) -> Result<Took> {
    let excluded = Rc::new(Excluded::default());
    let mut make = |config: &Value| {
        Warm::new(excluded.clone(), || {
            let architecture = registry.sae("topk", &json!({}))?;
            Ok(architecture.trainer(config, tch::Device::Cpu)?)
        })
    };
    measured(job, registry, &mut make, &excluded)
}

/// A layer of the baseline.
fn baseline(job: &TrainJob, registry: &Registry) -> Result<Took> {
    let excluded = Rc::new(Excluded::default());
    let mut make = |config: &Value| Warm::new(excluded.clone(), || Dense::new(config));
    measured(job, registry, &mut make, &excluded)
}

fn measured<L: Learner>(
    job: &TrainJob,
    registry: &Registry,
    make: train::MakeLearner<'_, L>,
    excluded: &Excluded,
) -> Result<Took> {
    let started = Time::now();
    train::run_with(job, registry, make, &|| false, &mut |_| {})?;
    let all = Time::now() - started;
    let runtime = Runtime::read(&job.out.join("mask"))?.context("no runtime.json")?;
    let steps: f64 = runtime.saes.iter().map(|sae| sae.seconds).sum();
    let first = excluded.first_steps.get();
    let work = runtime.model_seconds + runtime.buffer_seconds + steps - first.wall;
    // What is done once is known by the clock; its share of the CPU is taken to be the same.
    let left = all - first - excluded.made.get();
    Ok(Took {
        work: Time {
            wall: work,
            cpu: left.cpu * work / left.wall,
        },
        model: runtime.model_seconds,
        buffer: runtime.buffer_seconds,
        steps: steps - first.wall,
        ev: explained(job)?,
    })
}

/// Mean explained variance of each SAE over its last steps, from training.csv.
fn explained(job: &TrainJob) -> Result<Vec<f64>> {
    let steps = (job.tokens / u64::from(job.batch)) as u32;
    let text = fs::read_to_string(job.out.join("training.csv"))?;
    let mut rows = Vec::new();
    for line in text.lines().skip(1) {
        let row: Vec<&str> = line.split(',').collect();
        ensure!(row.len() == 9, "training.csv has the row {line}");
        if row[3].parse::<u32>()? + EV_OVER.min(steps) > steps {
            rows.push(row[6].parse::<f64>()?); // sorted by layer, k and step
        }
    }
    let each = EV_OVER.min(steps) as usize;
    let means: Vec<f64> = rows
        .chunks(each)
        .map(|ev| ev.iter().sum::<f64>() / ev.len() as f64)
        .collect();
    ensure!(
        means.len() == job.layers.len() * job.k.len(),
        "training.csv has {} rows of the last steps",
        rows.len()
    );
    Ok(means)
}
