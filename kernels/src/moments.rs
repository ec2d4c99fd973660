//! Sums over the rows of a residual stream that explained variance is made of, in f64.
//!
//! On a CPU rows are taken in blocks of [`BLOCK`] and the blocks' sums added in their order, so the number of
//! threads changes no bit.

use tch::{Device, Kind, Tensor};

use crate::{
    KernelError, Result, check,
    host::{self, Wide, numbers},
    pool, readback,
    simd::{Level, levels},
};

/// Rows of a block.
const BLOCK: usize = 128;
/// Columns summed at a time, so that two rows of f64 sums stay in the first-level cache.
const STRIP: usize = 1024;
/// Numbers that are in flight at a time.
const LANES: usize = 16;

/// Sums over `r = x - x_hat`.
#[derive(Clone, Debug, PartialEq)]
pub struct ResidualMoments {
    /// `|r|^2` of each row: `[n]`.
    pub r2: Vec<f64>,
    /// Sum of `r` over the rows: `[d]`.
    pub sum_r: Vec<f64>,
    /// The same over the rows to keep: `[d]`.
    pub sum_r_kept: Vec<f64>,
}

/// Sums over `x - origin`.
#[derive(Clone, Debug, PartialEq)]
pub struct CentredMoments {
    /// `|x - origin|^2` of each row: `[n]`.
    pub x2: Vec<f64>,
    /// Sum of `x - origin` over the rows: `[d]`.
    pub sum_x: Vec<f64>,
    /// The same over the rows to keep: `[d]`.
    pub sum_x_kept: Vec<f64>,
}

/// Moments of what a reconstruction leaves over: `x: [n, d] f32 or bf16`, `x_hat: [n, d] f32 or bf16`, `keep: [n]`.
///
/// Differences and sums are f64. NaN in a row makes that row's `r2` and the column's sums NaN; a row that is not
/// kept leaves `sum_r_kept` alone.
///
/// # Errors
/// Shapes that do not fit, or libtorch.
pub fn residual_moments(x: &Tensor, x_hat: &Tensor, keep: &[bool]) -> Result<ResidualMoments> {
    const NAME: &str = "residual_moments";
    let (n, d) = check::matrix(NAME, "x", x)?;
    check::shape(NAME, "x_hat", x_hat, &[n, d])?;
    check_keep(NAME, keep, n)?;
    let sums = if x.device() == Device::Cpu {
        let (x, x_hat) = (host::plain(x)?, host::plain(x_hat)?);
        let d = d as usize;
        numbers!(x, x => numbers!(x_hat, x_hat => on_host(x, x_hat, d, keep, d))).counted()
    } else {
        on_device(x, x_hat, keep)?
    };
    Ok(ResidualMoments {
        r2: sums.squares,
        sum_r: sums.all,
        sum_r_kept: sums.kept,
    })
}

/// Moments of rows about a fixed point: `x: [n, d] f32 or bf16`, `origin: [d]`, `keep: [n]`.
///
/// An origin near the mean keeps the sums small, so that a variance made of them loses nothing. NaN as in
/// [`residual_moments`].
///
/// # Errors
/// Shapes that do not fit, or libtorch.
pub fn centred_moments(x: &Tensor, origin: &[f64], keep: &[bool]) -> Result<CentredMoments> {
    const NAME: &str = "centred_moments";
    let (n, d) = check::matrix(NAME, "x", x)?;
    check_keep(NAME, keep, n)?;
    if origin.len() as i64 != d {
        return Err(KernelError::Shape {
            kernel: NAME,
            operand: "origin",
            found: vec![origin.len() as i64],
            expected: format!("[{d}]"),
        });
    }
    let sums = if x.device() == Device::Cpu {
        let x = host::plain(x)?;
        numbers!(x, x => on_host(x, origin, 0, keep, d as usize)).counted()
    } else {
        let origin = Tensor::f_from_slice(origin)?.f_to_device(x.device())?;
        on_device(x, &origin, keep)?
    };
    Ok(CentredMoments {
        x2: sums.squares,
        sum_x: sums.all,
        sum_x_kept: sums.kept,
    })
}

/// What both functions sum.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub squares: Vec<f64>,
    pub all: Vec<f64>,
    pub kept: Vec<f64>,
}

impl Sums {
    /// The sums `[n]`, `[d]` and `[d]` of a device, in one read.
    pub(crate) fn read(sums: &[Tensor; 3]) -> Result<Self> {
        let mut squares = readback::f64s(&Tensor::f_cat(sums, 0)?)?;
        let d = sums[2].numel();
        let kept = squares.split_off(squares.len() - d);
        let all = squares.split_off(squares.len() - d);
        Ok(Self { squares, all, kept })
    }

    /// Counts the read that a device would need.
    fn counted(self) -> Self {
        let n = self.squares.len() + self.all.len() + self.kept.len();
        readback::count(size_of::<f64>() * n);
        self
    }
}

fn check_keep(kernel: &'static str, keep: &[bool], n: i64) -> Result<()> {
    if keep.len() as i64 == n {
        return Ok(());
    }
    Err(KernelError::Shape {
        kernel,
        operand: "keep",
        found: vec![keep.len() as i64],
        expected: format!("[{n}]"),
    })
}

/// Sums of `x - other` where the tensors are: a kernel of ours, or libtorch.
fn on_device(x: &Tensor, other: &Tensor, keep: &[bool]) -> Result<Sums> {
    #[cfg(feature = "cuda")]
    if let Some(sums) = crate::cuda::moments(x, other, keep)? {
        return Ok(sums);
    }
    through_libtorch(x, other, keep)
}

/// Sums of `x - other` through libtorch.
pub(crate) fn through_libtorch(x: &Tensor, other: &Tensor, keep: &[bool]) -> Result<Sums> {
    let left = x
        .f_to_kind(Kind::Double)?
        .f_sub(&other.f_to_kind(Kind::Double)?)?;
    let kept = Tensor::f_from_slice(keep)?.f_to_device(left.device())?;
    let kept = left.f_index_select(0, &kept.f_nonzero()?.f_flatten(0, -1)?)?;
    let sum = |t: &Tensor, dim: i64| t.f_sum_dim_intlist(dim, false, Kind::Double);
    Sums::read(&[sum(&left.f_square()?, 1)?, sum(&left, 0)?, sum(&kept, 0)?])
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
