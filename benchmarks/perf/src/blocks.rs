//! What the blocks of a model take beside the matrix products in them.
//!
//! ```text
//! cargo run --release -p harness-perf -- blocks [D_MODEL [ROWS [TOKENS]]]
//! ```
//! A model of Dream's shape with random weights: the seconds of a block within a pass through
//! several, its share of the peak of libtorch's products, and each part of a block alone.

use std::io::Write;

use anyhow::{Context, Result};
use decoder::{Cache, Decoder, DecoderConfig, Family, from_tensors, init};
use harness_kernels::{rms_norm, rotate_halves, swiglu};
use tch::{Device, Kind, Tensor, nn};

use crate::kernels::{best, product_peak};

/// Blocks of a pass: enough that weights come from memory, as in a model.
const BLOCKS: i64 = 6;
const VOCABULARY: i64 = 1024;
const HEAD_DIM: i64 = 64;

/// One part of a block: its name, its operations (0 where it has no products) and what runs it.
type Part<'a> = (&'static str, f64, Box<dyn FnMut() -> Result<()> + 'a>);

/// Prints a table for each kind, on one thread.
pub fn run(arguments: &[String]) -> Result<()> {
    let number = |at: usize, default: i64| match arguments.get(at) {
        Some(text) => text
            .parse::<i64>()
            .with_context(|| format!("{text} is no number")),
        None => Ok(default),
    };
    let (d, rows, tokens) = (number(0, 1024)?, number(1, 4)?, number(2, 256)?);
    tch::set_num_threads(1);
    let _no_grad = tch::no_grad_guard();
    let mut out = std::io::stdout().lock();
    for kind in [Kind::Float, Kind::BFloat16] {
        let config = config(d);
        let peak = product_peak(kind)?;
        let block = block_seconds(&config, kind, rows, tokens)?;
        let flops = 2.0 * (rows * tokens) as f64 * products(&config)
            + attention_flops(&config, rows, tokens);
        writeln!(
            out,
            "{kind:?}, d {d}, {rows} x {tokens} tokens, one thread: a block {:.2} ms, {:.0} GFLOP/s, {:.0} % of {:.0}",
            block * 1e3,
            flops / block / 1e9,
            100.0 * flops / block / peak,
            peak / 1e9
        )?;
        writeln!(
            out,
            "\n| part | ms | of the block, % | of the peak, % |\n|---|---|---|---|"
        )?;
        let operands = Operands::new(&config, kind, rows, tokens);
        let mut sum = 0.0;
        for part in operands.parts(&config)? {
            sum += print(&mut out, part, block, peak)?;
        }
        writeln!(
            out,
            "| together | {:.3} | {:.1} | |",
            sum * 1e3,
            100.0 * sum / block
        )?;
        for part in operands.joined(&config) {
            print(&mut out, part, block, peak)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Prints a part's row: its seconds.
fn print(out: &mut impl Write, part: Part, block: f64, peak: f64) -> Result<f64> {
    let (name, flops, mut run) = part;
    let seconds = best(&mut run)?;
    let share = match flops > 0.0 {
        true => format!("{:.0}", 100.0 * flops / seconds / peak),
        false => String::new(),
    };
    writeln!(
        out,
        "| {name} | {:.3} | {:.1} | {share} |",
        seconds * 1e3,
        100.0 * seconds / block
    )?;
    Ok(seconds)
}

/// Dream's proportions: biases of q, k, v, four query heads a key head, d_ff 5.29 d_model.
fn config(d: i64) -> DecoderConfig {
    let mut config = DecoderConfig::new(Family::Dream, VOCABULARY, d, BLOCKS, d / HEAD_DIM);
    config.n_kv_heads = (config.n_heads / 4).max(1);
    config.d_ff = (d as f64 * 5.2857 / 64.0).round() as i64 * 64;
    config
}

/// Multiply-adds a token of a block's dense layers.
fn products(config: &DecoderConfig) -> f64 {
    let heads = (2 * config.n_heads + 2 * config.n_kv_heads) * config.head_dim;
    (config.d_model * (heads + 3 * config.d_ff)) as f64
}

fn attention_flops(config: &DecoderConfig, rows: i64, tokens: i64) -> f64 {
    4.0 * (rows * tokens * tokens * config.n_heads * config.head_dim) as f64
}

/// Seconds of one block within a pass through all.
fn block_seconds(config: &DecoderConfig, kind: Kind, rows: i64, tokens: i64) -> Result<f64> {
    tch::manual_seed(3407);
    let store = nn::VarStore::new(Device::Cpu);
    init(config, &store.root())?;
    let weights = store
        .variables()
        .into_iter()
        .map(|(name, weight)| (name, weight.detach().to_kind(kind)))
        .collect();
    drop(store);
    let model: Box<dyn Decoder> = from_tensors(config, weights)?;
    let ids = Tensor::randint(VOCABULARY, [rows, tokens], (Kind::Int64, Device::Cpu));
    let mut context = model.begin((rows, tokens), None, Cache::Off)?;
    let resid = model.embed(&ids, 0, &mut context)?;
    let pass = best(&mut || {
        drop(model.blocks(0, BLOCKS, &resid, &mut context)?);
        Ok(())
    })?;
    Ok(pass / BLOCKS as f64)
}

fn randn(shape: &[i64], kind: Kind) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind)
}

/// Tensors of the shapes that the parts of a block see.
struct Operands {
    resid: Tensor, // [rows, tokens, d]
    norm: Tensor,  // [d]
    cos: Tensor,   // [1, tokens, 1, head_dim / 2]
    sin: Tensor,   // [1, tokens, 1, head_dim / 2]
    wide: Tensor,  // [rows, tokens, d_ff]
}

impl Operands {
    fn new(config: &DecoderConfig, kind: Kind, rows: i64, tokens: i64) -> Self {
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
        let table = |value: f64| {
            Tensor::full(
                [1, tokens, 1, config.head_dim / 2],
                value,
                (kind, Device::Cpu),
            )
        };
        Self {
            resid: random(&[rows, tokens, config.d_model]),
            norm: random(&[config.d_model]),
            cos: table(0.6),
            sin: table(0.8),
            wide: random(&[rows, tokens, config.d_ff]),
        }
    }

    /// A dense layer on `x: [rows, tokens, in]`, with a weight of its own.
    fn product<'a>(name: &'static str, x: &'a Tensor, out: i64, biased: bool) -> Part<'a> {
        let random = |shape: &[i64]| randn(shape, x.kind());
        let width = x.size()[2];
        let weight = random(&[out, width]);
        let bias = biased.then(|| random(&[out]));
        let flops = 2.0 * (x.numel() as i64 * out) as f64;
        let run = move || {
            drop(x.f_linear(&weight, bias.as_ref())?);
            Ok(())
        };
        (name, flops, Box::new(run))
    }

    /// Products of a block that could be made in one.
    fn joined<'a>(&'a self, config: &DecoderConfig) -> Vec<Part<'a>> {
        let qkv = (config.n_heads + 2 * config.n_kv_heads) * config.head_dim;
        vec![
            Self::product("q, k and v in one", &self.resid, qkv, true),
            Self::product("gate and up in one", &self.resid, 2 * config.d_ff, false),
        ]
    }

    /// The parts of a block, in their order.
    fn parts<'a>(&'a self, config: &'a DecoderConfig) -> Result<Vec<Part<'a>>> {
        let kind = self.resid.kind();
        let (rows, tokens) = (self.resid.size()[0], self.resid.size()[1]);
        let (d, ff, hd) = (config.d_model, config.d_ff, config.head_dim);
        let (h, kv) = (config.n_heads, config.n_kv_heads);
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
        let heads = move |n: i64| random(&[rows, tokens, n, hd]);
        let (mut q, mut k) = (heads(h), heads(kv));
        let (query, key, value) = (
            heads(h).transpose(1, 2),
            heads(kv).transpose(1, 2),
            heads(kv).transpose(1, 2),
        );
        let mut sum = self.resid.copy();
        // In place, again and again: what stays what it is does not end in subnormal numbers.
        let mut gate = self.wide.zeros_like();
        Ok(vec![
            (
                "two norms",
                0.0,
                Box::new(move || {
                    for _ in 0..2 {
                        drop(rms_norm(&self.resid, &self.norm, 1e-6)?);
                    }
                    Ok(())
                }),
            ),
            Self::product("q", &self.resid, h * hd, true),
            Self::product("k", &self.resid, kv * hd, true),
            Self::product("v", &self.resid, kv * hd, true),
            (
                "rotations of q and k",
                0.0,
                Box::new(move || {
                    q = rotate_halves(q.shallow_clone(), &self.cos, &self.sin)?;
                    k = rotate_halves(k.shallow_clone(), &self.cos, &self.sin)?;
                    Ok(())
                }),
            ),
            (
                "attention",
                attention_flops(config, rows, tokens),
                Box::new(move || {
                    let mixed = Tensor::f_scaled_dot_product_attention(
                        &query,
                        &key,
                        &value,
                        None::<&Tensor>,
                        0.0,
                        false,
                        None,
                        true,
                    )?;
                    drop(mixed.f_transpose(1, 2)?.f_reshape([rows, tokens, h * hd])?);
                    Ok(())
                }),
            ),
            Self::product("o", &self.resid, d, false),
            (
                "two sums",
                0.0,
                Box::new(move || {
                    for _ in 0..2 {
                        let _ = sum.f_add_(&self.resid)?;
                    }
                    Ok(())
                }),
            ),
            Self::product("gate", &self.resid, ff, false),
            Self::product("up", &self.resid, ff, false),
            (
                "SwiGLU",
                0.0,
                Box::new(move || {
                    gate = swiglu(gate.shallow_clone(), &self.wide)?;
                    Ok(())
                }),
            ),
            Self::product("down", &self.wide, d, false),
        ])
    }
}
