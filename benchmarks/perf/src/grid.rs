//! The fidelity grid against a plain loop, and folders to run the fidelity bench at any size.
//!
//! ```text
//! cargo xtask build && cargo run --release -p harness-perf -- grid
//! cargo run --release -p harness-perf -- grid-folders DIR D_MODEL BLOCKS D_SAE LAYERS
//! ```
//! The plain loop is what tools in use do: for each SAE a clean and a spliced pass through all
//! blocks. It runs the same kernels on the same data, and its head sees the counted rows only.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use harness_core::corruption::mask_row;
use harness_engine::{
    eval::{Batch, Candidate, GridOptions, NoWatch, Replacement, Scope, ScoredSet, run_grid},
    plugin::{CacheMode, Checks, LoadOptions, Model, Registry, Sae},
};
use harness_kernels::{CleanRows, Targets, readback};
use tch::{Device, Kind, Tensor};

use crate::{
    checkpoint,
    sae_set::{self, SaeGrid},
};

/// The paper's insertion layers of a model of 28 blocks, and its active budgets of 16384 latents.
const LAYERS: [i64; 6] = [1, 5, 10, 14, 23, 27];
const KS: [i64; 6] = [50, 80, 160, 320, 520, 820];
const BLOCKS: i64 = 28;
const D_MODEL: i64 = 256;
/// The paper's proportions: 16384 latents for a width of 3584, and budgets of the same shares of
/// them.
const D_SAE: i64 = 1152;
/// Rows and tokens of the batch.
const ROWS: usize = 8;
const TOKENS: usize = 128;
/// The least factor, and the largest difference of a delta.
const FASTER: f64 = 3.5;
const TOLERANCE: f64 = 1e-5;

/// Costs of the shared grid and what it took.
struct Shared {
    /// Costs of the counted tokens in the unmodified model.
    clean: Vec<f64>,
    /// The same for each SAE.
    spliced: Vec<Vec<f64>>,
    block_passes: u64,
    head_rows: u64,
}

/// Prints both times and the largest difference; fails below [`FASTER`] or above [`TOLERANCE`].
pub fn run(arguments: &[String]) -> Result<()> {
    let plugins = arguments.first().map_or("plugins", String::as_str);
    tch::set_num_threads(2);
    let _no_grad = tch::no_grad_guard();
    let folder = tempfile::tempdir()?;
    write_folders(folder.path(), D_MODEL, BLOCKS, D_SAE, &LAYERS, Kind::Float)?;
    let registry = Registry::load(&[PathBuf::from(plugins)])?;
    let mut model = registry.model_for_type("Dream")?;
    let options = LoadOptions {
        device: Device::Cpu,
        kind: Kind::Float,
        allow_nan: false,
    };
    let info = model.load(&folder.path().join("model"), options)?;
    let architecture = registry.sae("topk", &serde_json::json!({}))?;
    let mut saes: Vec<(usize, Sae)> = Vec::new();
    for layer in LAYERS {
        for i in 0..KS.len() {
            let dir = folder
                .path()
                .join(format!("saes/resid_post_layer_{layer}/trainer_{i}"));
            saes.push((layer as usize, architecture.load(&dir, Device::Cpu, false)?));
        }
    }
    let batch = batch(
        info.mask_token_id.context("no mask token")?,
        info.vocab_size,
    );
    let scored = ScoredSet {
        positions: batch.denoising_targets(),
        logit_offset: info.logit_offset,
    };

    // Once each before the clock, so that neither pays for first touches.
    let shared = |model: &mut Model| -> Result<Shared> {
        let candidates: Vec<Candidate<'_>> = saes
            .iter()
            .map(|(layer, sae)| Candidate {
                layer: *layer,
                with: Replacement::Sae(sae),
                at: vec![Scope::All],
            })
            .collect();
        let options = GridOptions {
            stack: KS.len(),
            divergence: false,
        };
        let sets = [scored.clone()];
        let costs = run_grid(model, &batch, &candidates, &sets, options, &mut NoWatch)?;
        let spliced = costs.spliced.into_iter().map(|s| s.ce.concat()).collect();
        Ok(Shared {
            clean: costs.clean.concat(),
            spliced,
            block_passes: costs.work.block_passes,
            head_rows: costs.work.head_rows,
        })
    };
    shared(&mut model)?;
    let started = Instant::now();
    let Shared {
        clean,
        spliced,
        block_passes,
        head_rows,
    } = shared(&mut model)?;
    let ours = started.elapsed().as_secs_f64();

    plain(&mut model, &batch, &scored, &saes[0])?;
    let started = Instant::now();
    let mut worst: f64 = 0.0;
    let before = model.work();
    for (of, spliced) in saes.iter().zip(&spliced) {
        let (their_clean, theirs) = plain(&mut model, &batch, &scored, of)?;
        let delta = |a: &[f64], b: &[f64]| mean(a) - mean(b);
        worst = worst.max((delta(&theirs, &their_clean) - delta(spliced, &clean)).abs());
    }
    let loop_seconds = started.elapsed().as_secs_f64();
    let loop_passes = (model.work().block_passes - before.block_passes) / ROWS as u64;
    let loop_rows = model.work().head_rows - before.head_rows;

    let factor = loop_seconds / ours;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{BLOCKS} blocks, d_model {D_MODEL}, 36 SAEs of {D_SAE} latents, {ROWS} rows x {TOKENS} tokens, f32, 2 threads"
    )?;
    writeln!(out, "counted tokens:        {}", clean.len())?;
    writeln!(out, "                     block passes  head rows  seconds")?;
    writeln!(
        out,
        "shared grid          {block_passes:>12}  {head_rows:>9}  {ours:>7.2}"
    )?;
    writeln!(
        out,
        "plain loop           {loop_passes:>12}  {loop_rows:>9}  {loop_seconds:>7.2}"
    )?;
    writeln!(out, "factor:                {factor:.2}")?;
    writeln!(out, "largest difference of a delta: {worst:.1e} nats")?;
    ensure!(worst <= TOLERANCE, "the deltas differ by {worst:.1e}");
    ensure!(factor >= FASTER, "only {factor:.2} times faster");
    Ok(())
}

/// Writes `model` and `saes` of random weights below a folder, for `harness bench fidelity --model
/// dream=… --saes dream-mask=…`.
pub fn folders(arguments: &[String]) -> Result<()> {
    let usage = "usage: harness-perf grid-folders DIR D_MODEL BLOCKS D_SAE LAYERS, such as: grid-folders /tmp/g 1024 12 16384 1,3,5,7,9,11";
    let [dir, d_model, blocks, d_sae, layers] = arguments else {
        anyhow::bail!(usage);
    };
    let layers = layers
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<i64>, _>>()
        .context(usage)?;
    let number = |text: &String| text.parse::<i64>().context(usage);
    write_folders(
        Path::new(dir),
        number(d_model)?,
        number(blocks)?,
        number(d_sae)?,
        &layers,
        Kind::BFloat16,
    )
}

fn write_folders(
    folder: &Path,
    d_model: i64,
    blocks: i64,
    d_sae: i64,
    layers: &[i64],
    kind: Kind,
) -> Result<()> {
    let model = folder.join("model");
    std::fs::create_dir_all(&model)?;
    checkpoint::write(&model, Path::new("benchmarks/zoo/dream"), d_model, blocks)?;
    let grid = SaeGrid {
        d_model,
        d_sae,
        layers: layers.to_vec(),
        k: KS.iter().map(|k| (k * d_sae / 16384).max(1)).collect(),
        kind,
    };
    sae_set::write(&folder.join("saes"), &grid)
}

/// Random tokens, masked at rates from 0.05 to 0.5.
fn batch(mask: i64, vocab_size: usize) -> Batch {
    let n = ROWS * TOKENS;
    let draws = harness_core::rng::Stream::new(1, "grid");
    let target_ids: Vec<i64> = (0..n as u64)
        .map(|i| draws.below_at(i, vocab_size as u64 / 2) as i64)
        .collect();
    let is_masked: Vec<bool> = (0..ROWS as u64)
        .flat_map(|row| mask_row(1, row, 0.05, 0.5, &[true; TOKENS]).is_masked)
        .collect();
    let input_ids = target_ids
        .iter()
        .zip(&is_masked)
        .map(|(id, masked)| if *masked { mask } else { *id })
        .collect();
    Batch {
        b: ROWS,
        t: TOKENS,
        input_ids,
        target_ids,
        is_valid: vec![true; n],
        is_masked,
    }
}

/// A clean and a spliced pass through all blocks: costs of the counted tokens of both.
fn plain(
    model: &mut Model,
    batch: &Batch,
    scored: &ScoredSet,
    (layer, sae): &(usize, Sae),
) -> Result<(Vec<f64>, Vec<f64>)> {
    let n_layers = model.info()?.n_layers;
    let mut pass = model.begin(&batch.mask_tensor()?, CacheMode::OFF)?;
    let mut costs = Vec::new();
    for splice in [false, true] {
        let mut resid = pass.embed(&batch.input_tensor()?, 0)?; // [b, t, d]
        let shape = resid.size();
        if splice {
            pass.blocks(0, layer + 1, &mut resid)?;
            let x = resid.reshape([-1, shape[2]]); // [b·t, d]
            let mut checks = Checks::default();
            resid = sae.reconstruct(&x, &mut checks)?.reshape(&shape);
            checks.settle_now()?;
            pass.blocks(layer + 1, n_layers, &mut resid)?;
        } else {
            pass.blocks(0, n_layers, &mut resid)?;
        }
        let at = (0..batch.b * batch.t).filter(|i| scored.positions[*i]);
        let rows: Vec<i64> = at
            .clone()
            .map(|i| if i % batch.t == 0 { i } else { i - scored.logit_offset } as i64)
            .collect();
        let targets: Vec<i64> = at.map(|i| batch.target_ids[i]).collect();
        let hidden = resid
            .reshape([-1, shape[2]])
            .index_select(0, &Tensor::from_slice(&rows)); // [n, d]
        let logits = pass.unembed(&hidden)?;
        let targets = Targets::new(&targets, logits.size()[1], logits.device())?;
        costs.push(readback::f64s(&CleanRows::new(&logits)?.ce(&targets)?)?);
    }
    let spliced = costs.pop().unwrap_or_default();
    Ok((costs.pop().unwrap_or_default(), spliced))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
