//! Root-mean-square norm of rows, the norm of Dream, LLaDA, Qwen2 and LLaMA.

use half::bf16;
use tch::{Kind, Tensor};

use crate::{
    KernelError, Result, check,
    host::{self, Stored},
    pool, record,
    simd::{Level, levels},
    switch,
};

/// Rows of a task.
const BLOCK: usize = 32;
/// Numbers that are in flight at a time.
const LANES: usize = 16;

/// `x / sqrt(mean(x^2) + eps) · weight` over the last axis: `x: [.., d]`, `weight: [d]` -> `[..,
/// d]` in the kind of `x`.
///
/// The mean is summed in f64. The quotient is rounded to the kind of `x` before the weight
/// multiplies it, as the families' references do. On a CPU, f32 and bf16 are one sweep over each
/// row, on a CUDA device one launch; what carries gradients, lies elsewhere or mixes kinds goes
/// through libtorch.
///
/// # Errors
/// A weight that does not fit the rows, or libtorch.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    const NAME: &str = "rms_norm";
    let size = x.size();
    let Some(&d) = size.last() else {
        return Err(KernelError::Shape {
            kernel: NAME,
            operand: "x",
            found: size,
            expected: "[.., d]".into(),
        });
    };
    check::shape(NAME, "weight", weight, &[d])?;
    let is_on = switch::is_on(NAME) && x.kind() == weight.kind();
    let is_host = is_on && [x, weight].iter().all(|t| host::is_plain_host(t));
    match x.kind() {
        Kind::Float if is_host => return on_host::<f32>(x, weight, eps),
        Kind::BFloat16 if is_host => return on_host::<bf16>(x, weight, eps),
        _ => {}
    }
    #[cfg(feature = "cuda")]
    if is_on && let Some(normed) = crate::cuda::rms_norm(x, weight, eps)? {
        return Ok(normed);
    }
    through_libtorch(x, weight, eps)
}

/// The norm through libtorch, differentiable.
pub(crate) fn through_libtorch(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let wide = x.f_to_kind(Kind::Float)?;
    let mean = wide.f_square()?.f_mean_dim(-1, true, Kind::Float)?; // [.., 1]
    let scale = mean.f_add_scalar(eps)?.f_rsqrt()?;
    Ok(wide.f_mul(&scale)?.f_to_kind(x.kind())?.f_mul(weight)?)
}

fn on_host<T: Stored>(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let _operation = record::operation(c"harness::rms_norm");
    let level = Level::current();
    let mut out = x.f_empty_like()?;
    let d = weight.numel();
    if x.numel() == 0 {
        return Ok(out);
    }
    let (rows, weight) = (host::slice::<T>(x)?, host::slice::<T>(weight)?);
    let normed = host::slice_mut::<T>(&mut out)?;
    let tasks: Vec<_> = normed
        .chunks_mut(BLOCK * d)
        .zip(rows.chunks(BLOCK * d))
        .collect();
    pool::run(tasks, rows.len(), |(normed, rows)| {
        for (normed, row) in normed.chunks_exact_mut(d).zip(rows.chunks_exact(d)) {
            norm_row(level, row, weight, eps as f32, normed);
        }
    });
    Ok(out)
}

levels! {
    fn norm_row<T: Stored>(row: &[T], weight: &[T], eps: f32, normed: &mut [T]) = norm_row_body;
}

#[inline(always)]
fn norm_row_body<T: Stored>(row: &[T], weight: &[T], eps: f32, normed: &mut [T]) {
    let mut squares = [0.0f64; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            let v = f64::from(chunk[lane].f32());
            squares[lane] += v * v;
        }
    }
    for (square, v) in squares.iter_mut().zip(rest) {
        *square += f64::from(v.f32()) * f64::from(v.f32());
    }
    let mean = squares.iter().sum::<f64>() / row.len() as f64;
    let scale = 1.0 / (mean as f32 + eps).sqrt();
    for ((normed, v), weight) in normed.iter_mut().zip(row).zip(weight) {
        *normed = T::round(T::round(v.f32() * scale).f32() * weight.f32());
    }
}
