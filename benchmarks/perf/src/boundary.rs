//! Measures what the plugin boundary costs against the work that goes through it.
//!
//! ```text
//! cargo xtask build && cargo run --release -p harness-perf -- boundary [MODEL_DIR] [PLUGINS_DIR]
//! ```
//! An empty range of blocks goes through everything a call goes through (views, the call itself,
//! the panic bridge, shape checks, the gradient switch) and does no work; it is compared with one
//! block on the same residual.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};
use harness_engine::plugin::{CacheMode, LoadOptions, Pass, Registry};
use tch::{Device, Kind, Tensor};

/// Rows and tokens of the measured batch: a steering batch of the zoo.
const ROWS: i64 = 64;
const TOKENS: i64 = 36;
/// Samples of each figure; the median is reported.
const SAMPLES: usize = 41;
/// Empty calls a sample, so that the clock's own cost does not count.
const CALLS: usize = 1000;

/// Prints the cost of a call that does nothing beside one block; fails above 1 %.
pub fn run(arguments: &[String]) -> Result<()> {
    let mut arguments = arguments.iter().map(PathBuf::from);
    let model_dir = arguments
        .next()
        .unwrap_or_else(|| PathBuf::from("benchmarks/zoo/dream"));
    let plugins = arguments.next().unwrap_or_else(|| PathBuf::from("plugins"));
    tch::set_num_threads(1);
    let _no_grad = tch::no_grad_guard();
    let (mut forward, mut resid) = start(&model_dir, plugins)?;

    let empty = median(|| {
        let started = Instant::now();
        for _ in 0..CALLS {
            forward.blocks(1, 1, &mut resid)?;
        }
        Ok(started.elapsed().as_secs_f64() / CALLS as f64)
    })?;
    let block = median(|| {
        let started = Instant::now();
        forward.blocks(1, 2, &mut resid)?;
        Ok(started.elapsed().as_secs_f64())
    })?;
    let share = 100.0 * empty / block;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "one block, {ROWS} rows x {TOKENS} tokens: {:.3} ms",
        block * 1e3
    )?;
    writeln!(
        out,
        "a call that does nothing:        {:.3} us",
        empty * 1e6
    )?;
    writeln!(out, "share of the boundary:           {share:.4} %")?;
    anyhow::ensure!(
        share < 1.0,
        "the boundary costs {share:.2} % of a block pass, 1 % is the limit"
    );
    Ok(())
}

fn start(model_dir: &Path, plugins: PathBuf) -> Result<(Pass, Tensor)> {
    let config = model_dir.join("config.json");
    let text = std::fs::read_to_string(&config).with_context(|| config.display().to_string())?;
    let config: serde_json::Value = serde_json::from_str(&text)?;
    let model_type = config["model_type"]
        .as_str()
        .context("config.json has no model_type")?;
    let registry = Registry::load(&[plugins])?;
    let mut model = registry.model_for_type(model_type)?;
    let options = LoadOptions {
        device: Device::Cpu,
        kind: Kind::Float,
        allow_nan: false,
    };
    let info = model.load(model_dir, options)?;
    let mask = Tensor::ones([ROWS, TOKENS], (Kind::Uint8, Device::Cpu));
    let mut forward = model.begin(&mask, CacheMode::OFF)?;
    let tokens = Tensor::arange(ROWS * TOKENS, (Kind::Int64, Device::Cpu))
        .remainder(info.vocab_size.min(256) as i64)
        .reshape([ROWS, TOKENS]);
    let resid = forward.embed(&tokens, 0)?;
    Ok((forward, resid))
}

/// Median over samples, after one that does not count.
fn median(mut sample: impl FnMut() -> Result<f64>) -> Result<f64> {
    sample()?;
    let mut seconds = (0..SAMPLES)
        .map(|_| sample())
        .collect::<Result<Vec<f64>>>()?;
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[SAMPLES / 2])
}
