use half::bf16;
use tch::{Device, Kind, Tensor};

use super::lanes::{add_scaled, dot};
use crate::{
    Groups, Result, check,
    host::{self, Element},
    pool, readback, rows_dot,
    simd::{Level, levels},
};

/// Latents of a block.
const BLOCK: usize = 64;

/// The used slots of `latents: [n, w]`, by latent and then by row.
#[derive(Debug)]
pub struct ByLatent {
    d_sae: i64,
    order: Order,
}

#[derive(Debug)]
enum Order {
    Host {
        /// First of each latent in `slots`, and the end: `d_sae + 1`.
        starts: Vec<u32>,
        /// Slots of the flattened latents.
        slots: Vec<u32>,
    },
    Device(Groups),
}

impl ByLatent {
    /// Sorts `latents: [n, w] i64`, -1 being unused, `n · w` below 2^32.
    ///
    /// # Errors
    /// Latents out of range, no matrix, or libtorch.
    pub fn new(latents: &Tensor, d_sae: i64) -> Result<Self> {
        const NAME: &str = "ByLatent::new";
        check::matrix(NAME, "latents", latents)?;
        if latents.device() != Device::Cpu || latents.numel() > u32::MAX as usize {
            let order = Order::Device(Groups::new(latents, d_sae)?);
            return Ok(Self { d_sae, order });
        }
        check::indices(NAME, "latents", latents, -1, d_sae)?;
        let latents = latents.f_contiguous()?;
        let flat = host::slice::<i64>(&latents)?;
        let mut starts = vec![0u32; d_sae as usize + 1];
        let used = |l: i64| usize::try_from(l).ok();
        for latent in flat.iter().filter_map(|l| used(*l)) {
            starts[latent + 1] += 1;
        }
        for latent in 0..d_sae as usize {
            starts[latent + 1] += starts[latent];
        }
        let mut next = starts.clone();
        let mut slots = vec![0u32; starts[d_sae as usize] as usize];
        for (slot, latent) in flat.iter().enumerate() {
            if let Some(latent) = used(*latent) {
                slots[next[latent] as usize] = slot as u32;
                next[latent] += 1;
            }
        }
        let order = Order::Host { starts, slots };
        Ok(Self { d_sae, order })
    }

    /// How often each latent is active: `[d_sae] i64`.
    ///
    /// # Errors
    /// libtorch.
    pub fn counts(&self) -> Result<Tensor> {
        match &self.order {
            Order::Host { starts, .. } => {
                let counts: Vec<i64> = starts
                    .windows(2)
                    .map(|w| i64::from(w[1]) - i64::from(w[0]))
                    .collect();
                Ok(Tensor::f_from_slice(&counts)?)
            }
            Order::Device(groups) => Ok(groups.counts().shallow_clone()),
        }
    }
}

/// What a gradient is made of.
#[derive(Debug)]
pub struct Backward<'a> {
    /// The encoder's input, `x - b_dec`: `[n, d_model] f32 or bf16`.
    pub input: &'a Tensor,
    /// `d loss / d x_hat`: `[n, d_model]` in the same kind. Products and sums are f32 whatever it
    /// is.
    pub out: &'a Tensor,
    /// Active values: `[n, w] f32`.
    pub acts: &'a Tensor,
    /// Their latents, -1 in unused slots: `[n, w] i64`.
    pub latents: &'a Tensor,
    /// The same by latent.
    pub by_latent: &'a ByLatent,
    /// Decoder rows: `[d_sae, d_model] f32`.
    pub w_dec: &'a Tensor,
}

/// Gradients of the encoder and the decoder.
#[derive(Debug)]
pub struct SparseGradients {
    /// `[d_sae, d_model]`.
    pub w_enc: Tensor,
    /// `[d_sae]`.
    pub b_enc: Tensor,
    /// `[d_sae, d_model]`, without its part along each decoder row.
    pub w_dec: Tensor,
    /// Sum of the squares of all three.
    pub squares: f64,
}

/// Gradients of a loss whose derivative by the reconstruction is `out`, in one pass over the active
/// latents.
///
/// With `g[i, f] = out[i] · w_dec[f]` for the latents `f` that are active in row `i`: `w_dec'[f] =
/// Σ_i acts[i, f] · out[i]`, `w_enc'[f] = Σ_i g[i, f] · input[i]`, `b_enc'[f] = Σ_i g[i, f]`, the
/// sums over rows in their order; and `w_dec'[f]` loses its part along `w_dec[f]`, which would only
/// change a norm that is kept at 1. A latent's three sums stay in the nearest cache, so rows are
/// read `w / d_sae · n` times and parameters once.
///
/// `reuse` are gradients that are no longer wanted: their memory is written again, which spares
/// large tensors the cost of new pages.
///
/// # Errors
/// Shapes that do not fit, or libtorch.
pub fn sparse_gradients(
    b: &Backward<'_>,
    reuse: Option<SparseGradients>,
) -> Result<SparseGradients> {
    const NAME: &str = "sparse_gradients";
    let (n, d) = check::matrix(NAME, "input", b.input)?;
    let (_, w) = check::matrix(NAME, "acts", b.acts)?;
    check::shape(NAME, "out", b.out, &[n, d])?;
    check::shape(NAME, "acts", b.acts, &[n, w])?;
    check::shape(NAME, "latents", b.latents, &[n, w])?;
    check::shape(NAME, "w_dec", b.w_dec, &[b.by_latent.d_sae, d])?;
    match &b.by_latent.order {
        Order::Host { starts, slots } => on_host(b, starts, slots, w as usize, reuse),
        Order::Device(groups) => composed(b, groups),
    }
}

fn on_host(
    b: &Backward<'_>,
    starts: &[u32],
    slots: &[u32],
    w: usize,
    reuse: Option<SparseGradients>,
) -> Result<SparseGradients> {
    let (d_sae, d_model) = (b.by_latent.d_sae, b.w_dec.size()[1]);
    let mut found = match reuse {
        Some(old) if old.fits(d_sae, d_model) => old,
        _ => SparseGradients::empty(d_sae, d_model)?,
    };
    let (mut input, mut out) = (host::plain(b.input)?, host::plain(b.out)?);
    if input.kind() != out.kind() {
        input = input.f_to_kind(Kind::Float)?;
        out = out.f_to_kind(Kind::Float)?;
    }
    let plain = |t: &Tensor| -> Result<Tensor> { Ok(t.f_to_kind(Kind::Float)?.f_contiguous()?) };
    let (acts, rows) = (plain(b.acts)?, plain(b.w_dec)?);
    let (acts, rows) = (host::slice(&acts)?, host::slice(&rows)?);
    let d = d_model as usize;
    found.squares = match input.kind() {
        Kind::BFloat16 => {
            let (input, out) = (host::slice::<bf16>(&input)?, host::slice(&out)?);
            fill(
                &Source {
                    input,
                    out,
                    acts,
                    rows,
                    slots,
                    w,
                    d,
                },
                starts,
                &mut found,
            )?
        }
        _ => {
            let (input, out) = (host::slice::<f32>(&input)?, host::slice(&out)?);
            fill(
                &Source {
                    input,
                    out,
                    acts,
                    rows,
                    slots,
                    w,
                    d,
                },
                starts,
                &mut found,
            )?
        }
    };
    Ok(found)
}

impl SparseGradients {
    fn empty(d_sae: i64, d_model: i64) -> Result<Self> {
        let empty = |shape: &[i64]| Tensor::f_empty(shape, (Kind::Float, Device::Cpu));
        Ok(Self {
            w_enc: empty(&[d_sae, d_model])?,
            b_enc: empty(&[d_sae])?,
            w_dec: empty(&[d_sae, d_model])?,
            squares: 0.0,
        })
    }

    fn fits(&self, d_sae: i64, d_model: i64) -> bool {
        let is = |t: &Tensor, shape: &[i64]| {
            t.size() == shape
                && t.kind() == Kind::Float
                && t.device() == Device::Cpu
                && t.is_contiguous()
        };
        is(&self.w_enc, &[d_sae, d_model])
            && is(&self.w_dec, &[d_sae, d_model])
            && is(&self.b_enc, &[d_sae])
    }
}

/// What all blocks read.
struct Source<'a, E> {
    input: &'a [E],
    out: &'a [E],
    acts: &'a [f32],
    rows: &'a [f32],
    slots: &'a [u32],
    w: usize,
    d: usize,
}

/// Writes every number of `to`; gives the sum of their squares.
fn fill<E: Element>(
    source: &Source<'_, E>,
    starts: &[u32],
    to: &mut SparseGradients,
) -> Result<f64> {
    let d = source.d;
    let b_enc = host::slice_mut::<f32>(&mut to.b_enc)?;
    if d == 0 {
        b_enc.fill(0.0);
        return Ok(0.0);
    }
    let level = Level::current();
    let tasks: Vec<_> = host::slice_mut::<f32>(&mut to.w_enc)?
        .chunks_mut(BLOCK * d)
        .zip(host::slice_mut::<f32>(&mut to.w_dec)?.chunks_mut(BLOCK * d))
        .zip(b_enc.chunks_mut(BLOCK))
        .enumerate()
        .collect();
    let elements = (source.slots.len() + starts.len()) * d;
    let squares = pool::run(tasks, elements, |(at, ((w_enc, w_dec), b_enc))| {
        let first = at * BLOCK;
        block(level, source, &starts[first..], first, w_enc, w_dec, b_enc)
    });
    Ok(squares.iter().sum())
}

levels! {
    /// Gradients of the latents from `first` on, as many as `b_enc` holds; gives the sum of their
    /// squares.
    fn block<E: Element>(source: &Source<'_, E>, starts: &[u32], first: usize, w_enc: &mut [f32], w_dec: &mut [f32], b_enc: &mut [f32]) -> f64 = block_body;
}

#[inline(always)]
fn block_body<E: Element>(
    source: &Source<'_, E>,
    starts: &[u32],
    first: usize,
    w_enc: &mut [f32],
    w_dec: &mut [f32],
    b_enc: &mut [f32],
) -> f64 {
    let d = source.d;
    let mut squares = 0.0;
    let rows = w_enc.chunks_exact_mut(d).zip(w_dec.chunks_exact_mut(d));
    for (i, ((w_enc, w_dec), b_enc)) in rows.zip(b_enc).enumerate() {
        let slots = &source.slots[starts[i] as usize..starts[i + 1] as usize];
        w_enc.fill(0.0);
        w_dec.fill(0.0);
        *b_enc = 0.0;
        if slots.is_empty() {
            continue;
        }
        let row = &source.rows[(first + i) * d..][..d];
        for &slot in slots {
            let at = slot as usize / source.w * d;
            let (out, input) = (&source.out[at..][..d], &source.input[at..][..d]);
            let g = dot(out, row);
            add_scaled(w_dec, out, source.acts[slot as usize]);
            add_scaled(w_enc, input, g);
            *b_enc += g;
        }
        let along = dot(w_dec, row);
        add_scaled(w_dec, row, -along);
        squares += f64::from(dot(w_enc, w_enc)) + f64::from(dot(w_dec, w_dec));
        squares += f64::from(*b_enc) * f64::from(*b_enc);
    }
    squares
}

/// The same of libtorch's operations.
pub(super) fn composed(b: &Backward<'_>, groups: &Groups) -> Result<SparseGradients> {
    let (input, out) = (
        b.input.f_to_kind(Kind::Float)?,
        b.out.f_to_kind(Kind::Float)?,
    );
    let d_acts = rows_dot(&out, b.w_dec, b.latents)?; // [n, w], 0 in unused slots
    let w_dec = groups.accumulate(&out, b.acts)?;
    let w_enc = groups.accumulate(&input, &d_acts)?;
    let ones = Tensor::f_ones([out.size()[0], 1], (Kind::Float, out.device()))?;
    let b_enc = groups.accumulate(&ones, &d_acts)?.f_squeeze_dim(1)?;
    let along = w_dec
        .f_mul(b.w_dec)?
        .f_sum_dim_intlist(1i64, true, Kind::Float)?;
    let w_dec = w_dec.f_sub(&b.w_dec.f_mul(&along)?)?;
    let squares = [&w_enc, &b_enc, &w_dec]
        .map(|gradient| gradient.f_square()?.f_sum(Kind::Double))
        .into_iter()
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let squares = readback::f64s(&Tensor::f_stack(&squares, 0)?)?;
    Ok(SparseGradients {
        w_enc,
        b_enc,
        w_dec,
        squares: squares.iter().sum(),
    })
}
