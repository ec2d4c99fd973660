//! A dense layer. One or two rows, as in the generation of a text, are a kernel of ours: the
//! weights' way from memory is what takes time, and libtorch reads narrow ones, or bf16, at half
//! its rate.

use half::bf16;
use tch::{Kind, Tensor};

use crate::{
    KernelError, Result, check,
    host::{self, Stored},
    pool, record,
    simd::{Level, levels},
    switch,
};

/// Most rows that are multiplied here.
const FEW: usize = 2;
/// Rows of weights of a task.
const BLOCK: usize = 64;
/// Numbers of a sum that are added side by side.
const LANES: usize = 16;

/// `x · weight^T + bias`: `x: [.., k]`, `weight: [n, k]`, `bias: [n]` -> `[.., n]` in the kind of
/// `x`.
///
/// On a CPU, one or two rows of f32 or bf16 are summed in f32, in an order that depends neither on
/// the processor nor on the number of threads, and rounded once; more rows, what carries
/// gradients, lies elsewhere or mixes kinds goes through libtorch.
///
/// # Errors
/// Operands that do not fit each other, or libtorch.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    const NAME: &str = "linear";
    let size = x.size();
    let (n, k) = match (&weight.size()[..], size.last()) {
        (&[n, k], Some(&width)) if width == k => (n, k),
        _ => {
            return Err(KernelError::Shape {
                kernel: NAME,
                operand: "weight",
                found: weight.size(),
                expected: format!("[n, {}]", size.last().unwrap_or(&0)),
            });
        }
    };
    if let Some(bias) = bias {
        check::shape(NAME, "bias", bias, &[n])?;
    }
    let is_few = k > 0 && (1..=FEW).contains(&(x.numel() / k.max(1) as usize));
    let mut operands = [Some(x), Some(weight), bias].into_iter().flatten();
    let is_ours = is_few
        && switch::is_on(NAME)
        && operands.all(|t| host::is_plain_host(t) && t.kind() == x.kind());
    match x.kind() {
        Kind::Float if is_ours => on_host::<f32>(x, weight, bias, n),
        Kind::BFloat16 if is_ours => on_host::<bf16>(x, weight, bias, n),
        _ => Ok(x.f_linear(weight, bias)?),
    }
}

fn on_host<T: Stored>(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    n: i64,
) -> Result<Tensor> {
    let _operation = record::operation(c"harness::linear");
    let mut size = x.size();
    let k = size.pop().unwrap_or_default() as usize;
    size.push(n);
    let n = n as usize;
    let mut out = Tensor::f_empty(size.as_slice(), (x.kind(), x.device()))?;
    let rows: Vec<f32> = host::slice::<T>(x)?.iter().map(|v| v.f32()).collect();
    let bias = bias.map(host::slice::<T>).transpose()?;
    let weights = host::slice::<T>(weight)?;
    let level = Level::current();
    let tasks: Vec<_> = weights.chunks(BLOCK * k).collect();
    // Each task's sums stand row after row; they are put in their places afterwards.
    let blocks = pool::run(tasks, weights.len(), |weights| {
        block_sums(level, &rows, weights, k)
    });
    let places = host::slice_mut::<T>(&mut out)?;
    for (block, sums) in blocks.iter().enumerate() {
        let (at, width) = (block * BLOCK, sums.len() * k / rows.len());
        for (row, sums) in sums.chunks_exact(width).enumerate() {
            for (i, sum) in sums.iter().enumerate() {
                let shift = bias.map_or(0.0, |bias| bias[at + i].f32());
                places[row * n + at + i] = T::round(sum + shift);
            }
        }
    }
    Ok(out)
}

/// Products of all rows with some rows of weights, `[rows, weights]` one after the other.
fn block_sums<T: Stored>(level: Level, rows: &[f32], weights: &[T], k: usize) -> Vec<f32> {
    let mut sums = vec![0.0; rows.len() / k * (weights.len() / k)];
    few_rows(level, rows, weights, k, &mut sums);
    sums
}

levels! {
    fn few_rows<T: Stored>(rows: &[f32], weights: &[T], k: usize, sums: &mut [f32]) = few_rows_body;
}

#[inline(always)]
fn few_rows_body<T: Stored>(rows: &[f32], weights: &[T], k: usize, sums: &mut [f32]) {
    // About eight sums at once: an addition does not wait for the one before it, and they stay in
    // registers.
    match rows.len() / k {
        1 => products::<T, 1, 8>(rows, weights, k, sums),
        _ => products::<T, FEW, 4>(rows, weights, k, sums),
    }
}

/// The products of `M` rows with all weights, of which `R` rows are read side by side.
#[inline(always)]
fn products<T: Stored, const M: usize, const R: usize>(
    rows: &[f32],
    weights: &[T],
    k: usize,
    sums: &mut [f32],
) {
    let width = weights.len() / k;
    let together = width - width % R;
    for first in (0..together).step_by(R) {
        product_sums::<T, M, R>(rows, &weights[first * k..], k, &mut sums[first..], width);
    }
    for last in together..width {
        product_sums::<T, M, 1>(
            rows,
            &weights[last * k..(last + 1) * k],
            k,
            &mut sums[last..],
            width,
        );
    }
}

/// The products of `M` rows with `R` rows of weights, into `sums[m * stride + r]`.
#[inline(always)]
fn product_sums<T: Stored, const M: usize, const R: usize>(
    rows: &[f32],
    weights: &[T],
    k: usize,
    sums: &mut [f32],
    stride: usize,
) {
    let mut lanes = [[[0.0f32; LANES]; R]; M];
    let whole = k - k % LANES;
    for at in (0..whole).step_by(LANES) {
        for r in 0..R {
            fetch(weights, (R + r) * k + at);
            let weights = widened(&weights[r * k + at..r * k + at + LANES]);
            for m in 0..M {
                let row = &rows[m * k + at..m * k + at + LANES];
                for lane in 0..LANES {
                    lanes[m][r][lane] = weights[lane].mul_add(row[lane], lanes[m][r][lane]);
                }
            }
        }
    }
    for m in 0..M {
        for r in 0..R {
            for at in whole..k {
                let lane = &mut lanes[m][r][at - whole];
                *lane = weights[r * k + at].f32().mul_add(rows[m * k + at], *lane);
            }
            sums[m * stride + r] = total(&lanes[m][r]);
        }
    }
}

/// Asks for the number at a place that will be read soon.
#[inline(always)]
fn fetch<T>(numbers: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if at < numbers.len() {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: the place is within the slice, and asking for it reads nothing.
        unsafe { _mm_prefetch(numbers.as_ptr().add(at).cast::<i8>(), _MM_HINT_T1) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (numbers, at);
}

#[inline(always)]
fn widened<T: Stored>(numbers: &[T]) -> [f32; LANES] {
    let mut wide = [0.0; LANES];
    for (wide, number) in wide.iter_mut().zip(numbers) {
        *wide = number.f32();
    }
    wide
}

/// The sum of all lanes, by halves.
#[inline(always)]
fn total(lanes: &[f32; LANES]) -> f32 {
    let mut sums = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}
