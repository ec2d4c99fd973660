use tch::{Device, Tensor};

use super::lanes::dot;
use crate::{
    Result, check, host, pool,
    simd::{Level, levels},
};

/// Numbers of a block; a block holds whole rows.
const BLOCK: usize = 1 << 15;
/// Smallest norm a row is divided by.
const MIN_NORM: f32 = 1e-12;

/// One update of Adam with bias correction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Steps with this one, from 1.
    pub step: u64,
    /// Factor of the gradient, from clipping.
    pub factor: f64,
    /// What is done with the rows afterwards.
    pub rows: Rows,
}

/// What is done with the rows of a parameter after its update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    Free,
    /// They are brought to unit norm.
    Unit,
}

/// Updates `parameter` and its moments in place with `gradient`, all of one shape, `[f, d]` or
/// `[f]`, f32.
///
/// `m ← m + (1 - β1)(g - m)`, `v ← v + (1 - β2)(g² - v)`, `p ← p - lr/(1 - β1^t) · m / (√v / √(1 -
/// β2^t) + ε)` with `g` the gradient times `factor`. Every number is read and written once.
///
/// # Errors
/// Shapes or kinds that do not fit, tensors with gaps, or libtorch.
pub fn adam_step(
    parameter: &mut Tensor,
    first: &mut Tensor,
    second: &mut Tensor,
    gradient: &Tensor,
    step: &AdamStep,
) -> Result<()> {
    const NAME: &str = "adam_step";
    let shape = parameter.size();
    check::shape(NAME, "first", first, &shape)?;
    check::shape(NAME, "second", second, &shape)?;
    check::shape(NAME, "gradient", gradient, &shape)?;
    if parameter.device() != Device::Cpu {
        return composed(parameter, first, second, gradient, step);
    }
    let row = match shape[..] {
        [_, d] => d.max(1) as usize,
        _ => 1,
    };
    let gradient = gradient.f_contiguous()?;
    let gradient = host::slice::<f32>(&gradient)?;
    let numbers = Numbers::new(step, row);
    let block = (BLOCK / row).max(1) * row;
    let level = Level::current();
    let tasks: Vec<_> = host::slice_mut::<f32>(parameter)?
        .chunks_mut(block)
        .zip(host::slice_mut::<f32>(first)?.chunks_mut(block))
        .zip(host::slice_mut::<f32>(second)?.chunks_mut(block))
        .zip(gradient.chunks(block))
        .collect();
    pool::run(tasks, gradient.len(), |(((p, m), v), g)| {
        update(level, p, m, v, g, &numbers);
    });
    Ok(())
}

/// The numbers of an update in f32.
struct Numbers {
    factor: f32,
    keep1: f32,
    keep2: f32,
    root: f32,
    eps: f32,
    rate: f32,
    row: usize,
    rows: Rows,
}

impl Numbers {
    fn new(step: &AdamStep, row: usize) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(step.step as f64);
        Self {
            factor: step.factor as f32,
            keep1: (1.0 - step.beta1) as f32,
            keep2: (1.0 - step.beta2) as f32,
            root: correction(step.beta2).sqrt() as f32,
            eps: step.eps as f32,
            rate: (-step.lr / correction(step.beta1)) as f32,
            row,
            rows: step.rows,
        }
    }
}

levels! {
    /// Updates whole rows.
    fn update(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], numbers: &Numbers) = update_body;
}

#[inline(always)]
fn update_body(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], numbers: &Numbers) {
    let row = numbers.row;
    let moments = m.chunks_exact_mut(row).zip(v.chunks_exact_mut(row));
    for ((p, (m, v)), g) in p
        .chunks_exact_mut(row)
        .zip(moments)
        .zip(g.chunks_exact(row))
    {
        // Equal lengths, said once, spare the loop its checks.
        let (m, v, g) = (&mut m[..p.len()], &mut v[..p.len()], &g[..p.len()]);
        for i in 0..p.len() {
            let g = g[i] * numbers.factor;
            m[i] = numbers.keep1.mul_add(g - m[i], m[i]);
            v[i] = numbers.keep2.mul_add(g * g - v[i], v[i]);
            let spread = v[i].sqrt() / numbers.root + numbers.eps;
            p[i] += m[i] / spread * numbers.rate;
        }
        if numbers.rows == Rows::Unit {
            let norm = dot(p, p).sqrt().max(MIN_NORM);
            for p in p {
                *p /= norm;
            }
        }
    }
}

/// The same of libtorch's operations.
pub(super) fn composed(
    parameter: &mut Tensor,
    first: &mut Tensor,
    second: &mut Tensor,
    gradient: &Tensor,
    step: &AdamStep,
) -> Result<()> {
    let gradient = gradient.f_mul_scalar(step.factor)?;
    let _ = first.f_lerp_(&gradient, 1.0 - step.beta1)?;
    let _ = second.f_lerp_(&gradient.f_square()?, 1.0 - step.beta2)?;
    let correction = |beta: f64| 1.0 - beta.powf(step.step as f64);
    let mut spread = second.f_sqrt()?;
    let _ = spread.f_div_scalar_(correction(step.beta2).sqrt())?;
    let _ = spread.f_add_scalar_(step.eps)?;
    let mut change = first.f_div(&spread)?;
    let _ = change.f_mul_scalar_(-step.lr / correction(step.beta1))?;
    let _ = parameter.f_add_(&change)?;
    if step.rows == Rows::Unit && parameter.dim() == 2 {
        let norms = parameter
            .f_norm_scalaropt_dim(2, 1i64, true)?
            .f_clamp_min(f64::from(MIN_NORM))?;
        let _ = parameter.f_div_(&norms)?;
    }
    Ok(())
}
