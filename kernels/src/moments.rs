//! Sums over the rows of a residual stream that explained variance is made of, in f64.
//!
//! On a CPU rows are taken in blocks of `BLOCK` and the blocks' sums added in their order, so the
//! number of threads changes no bit.

use tch::{Device, Kind, Tensor};

use crate::{
    Moments, Result, check,
    host::{self, Wide, numbers},
    pool,
    simd::{Level, levels},
};

/// Rows of a block.
const BLOCK: usize = 128;
/// Columns summed at a time, so that two rows of f64 sums stay in the first-level cache.
const STRIP: usize = 1024;
/// Numbers that are in flight at a time.
const LANES: usize = 16;

/// What the rows of one text are, with those apart that are far larger than most.
#[derive(Debug)]
pub struct TextMoments {
    /// The rows about 0; all of them are kept.
    pub about_zero: Moments,
    /// Rows that are not far larger: `[n] bool`.
    pub keep: Tensor,
    /// The rows about their mean.
    pub about_mean: Moments,
}

/// Moments of what a reconstruction leaves over: `x: [n, d] f32 or bf16`, `x_hat: [n, d] f32 or
/// bf16`, `keep: [n] bool`, all in one place.
///
/// Differences and sums are f64. NaN in a row makes that row's square and the column's sums NaN; a
/// row that is not kept leaves `kept` alone.
///
/// # Errors
/// Shapes that do not fit, or libtorch.
pub fn residual_moments(x: &Tensor, x_hat: &Tensor, keep: &Tensor) -> Result<Moments> {
    const NAME: &str = "residual_moments";
    let (n, d) = check::matrix(NAME, "x", x)?;
    check::shape(NAME, "x_hat", x_hat, &[n, d])?;
    check::shape(NAME, "keep", keep, &[n])?;
    if x.device() != Device::Cpu {
        return on_device(x, x_hat, keep);
    }
    let (x, x_hat, keep) = (host::plain(x)?, host::plain(x_hat)?, keep.f_contiguous()?);
    let (keep, d) = (host::slice(&keep)?, d as usize);
    numbers!(x, x => numbers!(x_hat, x_hat => on_host(x, x_hat, d, keep, d))).tensors()
}

/// Moments of rows about a fixed point: `x: [n, d] f32 or bf16`, `origin: [d] f64`, `keep: [n]
/// bool`.
///
/// An origin near the mean keeps the sums small, so that a variance made of them loses nothing. NaN
/// as in [`residual_moments`].
///
/// # Errors
/// Shapes that do not fit, or libtorch.
pub fn centred_moments(x: &Tensor, origin: &Tensor, keep: &Tensor) -> Result<Moments> {
    const NAME: &str = "centred_moments";
    let (n, d) = check::matrix(NAME, "x", x)?;
    check::shape(NAME, "origin", origin, &[d])?;
    check::shape(NAME, "keep", keep, &[n])?;
    if x.device() != Device::Cpu {
        return on_device(x, origin, keep);
    }
    let (x, origin, keep) = (
        host::plain(x)?,
        origin.f_contiguous()?,
        keep.f_contiguous()?,
    );
    let (origin, keep) = (host::slice::<f64>(&origin)?, host::slice(&keep)?);
    numbers!(x, x => on_host(x, origin, 0, keep, d as usize)).tensors()
}

/// Moments of the rows of one text about 0 and about their mean: `x: [n, d] f32 or bf16`.
///
/// Rows of which `|x|^2` is at most [`largest_kept`] are kept. Which they are is found where the
/// rows are: nothing is waited for.
///
/// # Errors
/// `x` is no matrix, or libtorch.
pub fn text_moments(x: &Tensor, factor: f64) -> Result<TextMoments> {
    let (n, d) = check::matrix("text_moments", "x", x)?;
    if x.device() != Device::Cpu {
        return text_moments_through_libtorch(x, factor);
    }
    let (x, d) = (host::plain(x)?, d as usize);
    let everything = vec![true; n as usize];
    let about_zero = numbers!(x, x => on_host(x, &vec![0.0f64; d], 0, &everything, d));
    let limit = largest_kept(&about_zero.squares, factor);
    let keep: Vec<bool> = about_zero.squares.iter().map(|s| *s <= limit).collect();
    let mean: Vec<f64> = about_zero.all.iter().map(|s| s / n as f64).collect();
    let about_mean = numbers!(x, x => on_host(x, &mean, 0, &keep, d));
    Ok(TextMoments {
        about_zero: about_zero.tensors()?,
        keep: host::tensor(&keep)?,
        about_mean: about_mean.tensors()?,
    })
}

/// [`text_moments`] by operations of libtorch and by [`centred_moments`].
pub(crate) fn text_moments_through_libtorch(x: &Tensor, factor: f64) -> Result<TextMoments> {
    let (n, d) = check::matrix("text_moments", "x", x)?;
    let zeros = Tensor::f_zeros([d], (Kind::Double, x.device()))?;
    let everything = Tensor::f_ones([n], (Kind::Bool, x.device()))?;
    let about_zero = centred_moments(x, &zeros, &everything)?;
    let keep = if n == 0 {
        everything
    } else {
        let (sorted, _) = about_zero.squares.f_sort(0, false)?;
        let limit = sorted.f_select(0, (n - 1) / 2)?.f_mul_scalar(factor)?;
        about_zero.squares.f_le_tensor(&limit)?
    };
    let mean = about_zero.all.f_div_scalar(n)?;
    let about_mean = centred_moments(x, &mean, &keep)?;
    Ok(TextMoments {
        about_zero,
        keep,
        about_mean,
    })
}

/// The largest square of a row that [`text_moments`] keeps: `factor` times the lower median of all.
#[must_use]
pub fn largest_kept(squares: &[f64], factor: f64) -> f64 {
    let mut sorted = squares.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len().saturating_sub(1) / 2;
    factor * sorted.get(middle).copied().unwrap_or(0.0)
}

/// What a CPU sums.
struct Sums {
    squares: Vec<f64>,
    all: Vec<f64>,
    kept: Vec<f64>,
}

impl Sums {
    fn tensors(&self) -> Result<Moments> {
        Ok(Moments {
            squares: host::tensor(&self.squares)?,
            all: host::tensor(&self.all)?,
            kept: host::tensor(&self.kept)?,
        })
    }
}

/// Sums of `x - other` where the tensors are: a kernel of ours, or libtorch.
fn on_device(x: &Tensor, other: &Tensor, keep: &Tensor) -> Result<Moments> {
    #[cfg(feature = "cuda")]
    if let Some(sums) = crate::cuda::moments(x, other, keep)? {
        return Ok(sums);
    }
    through_libtorch(x, other, keep)
}

/// Sums of `x - other` through libtorch. Rows that are not kept are filled with 0, since libtorch
/// would wait to know how many there are.
pub(crate) fn through_libtorch(x: &Tensor, other: &Tensor, keep: &Tensor) -> Result<Moments> {
    let left = x
        .f_to_kind(Kind::Double)?
        .f_sub(&other.f_to_kind(Kind::Double)?)?;
    let kept = left.f_masked_fill(&keep.f_logical_not()?.f_unsqueeze(1)?, 0)?;
    let sum = |t: &Tensor, dim: i64| t.f_sum_dim_intlist(dim, false, Kind::Double);
    Ok(Moments {
        squares: sum(&left.f_square()?, 1)?,
        all: sum(&left, 0)?,
        kept: sum(&kept, 0)?,
    })
}

/// Sums of `x - other`; `stride` is the distance between rows of `other`, 0 for one row for all.
fn on_host<X: Wide, O: Wide>(x: &[X], other: &[O], stride: usize, keep: &[bool], d: usize) -> Sums {
    let level = Level::current();
    let mut squares = vec![0.0; keep.len()];
    let tasks: Vec<_> = squares
        .chunks_mut(BLOCK)
        .zip(keep.chunks(BLOCK))
        .enumerate()
        .collect();
    let parts = pool::run(tasks, x.len(), |(block, (squares, keep))| {
        let (x, other) = (&x[block * BLOCK * d..], &other[block * BLOCK * stride..]);
        let (mut left_out, mut kept) = (vec![0.0; d], vec![0.0; d]);
        block_sums(
            level,
            x,
            other,
            stride,
            keep,
            squares,
            &mut left_out,
            &mut kept,
        );
        (left_out, kept)
    });
    let (mut all, mut kept) = (vec![0.0; d], vec![0.0; d]);
    for (left_out, part) in parts {
        for i in 0..d {
            all[i] += left_out[i] + part[i];
            kept[i] += part[i];
        }
    }
    Sums { squares, all, kept }
}

levels! {
    #[expect(clippy::too_many_arguments, reason = "the level comes in front of those of the body")]
    fn block_sums<X: Wide, O: Wide>(
        x: &[X], other: &[O], stride: usize, keep: &[bool],
        squares: &mut [f64], left_out: &mut [f64], kept: &mut [f64],
    ) = block_body;
}

/// Rows of one block; a row adds to the sums of its own side only.
#[inline(always)]
fn block_body<X: Wide, O: Wide>(
    x: &[X],
    other: &[O],
    stride: usize,
    keep: &[bool],
    squares: &mut [f64],
    left_out: &mut [f64],
    kept: &mut [f64],
) {
    let d = kept.len();
    for from in (0..d).step_by(STRIP) {
        let to = (from + STRIP).min(d);
        for (row, (square, &keep)) in squares.iter_mut().zip(keep).enumerate() {
            let sums = if keep {
                &mut kept[from..to]
            } else {
                &mut left_out[from..to]
            };
            let x = &x[row * d + from..row * d + to];
            let other = &other[row * stride + from..row * stride + to];
            *square += row_body(x, other, sums);
        }
    }
}

/// Adds a row to the column sums and returns its sum of squares.
#[inline(always)]
fn row_body<X: Wide, O: Wide>(x: &[X], other: &[O], sums: &mut [f64]) -> f64 {
    let mut squares = [0.0f64; LANES];
    let whole = sums.len() / LANES * LANES;
    let (head, tail) = sums.split_at_mut(whole);
    for ((x, other), sums) in x
        .chunks_exact(LANES)
        .zip(other.chunks_exact(LANES))
        .zip(head.chunks_exact_mut(LANES))
    {
        for lane in 0..LANES {
            let left = x[lane].f64() - other[lane].f64();
            sums[lane] += left;
            squares[lane] += left * left;
        }
    }
    for ((x, other), (sum, square)) in x[whole..]
        .iter()
        .zip(&other[whole..])
        .zip(tail.iter_mut().zip(&mut squares))
    {
        let left = x.f64() - other.f64();
        *sum += left;
        *square += left * left;
    }
    squares.iter().sum()
}
