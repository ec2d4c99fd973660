//! What a decoding order needs to know of a row of logits.

use tch::{Kind, Tensor};

use crate::{
    KernelError, Result, check,
    exp::exp,
    host::{self, Element, numbers},
    pool,
    simd::{Level, levels},
    softmax::{BLOCK, LANES},
};

/// Statistics of the distributions of `n` rows.
#[derive(Debug)]
pub struct TokenStats {
    /// Most probable token, the lowest of equals: `[n] i64`.
    pub argmax: Tensor,
    /// Its probability: `[n] f32`.
    pub p1: Tensor,
    /// The second largest probability: `[n] f32`.
    pub p2: Tensor,
    /// Entropy in nats: `[n] f32`.
    pub entropy: Tensor,
}

/// Statistics of `softmax(logits)`; `logits: [n, v]` with `v >= 2`.
///
/// A token of logit minus infinity adds nothing to the entropy. NaN in a row makes its probabilities and entropy NaN
/// and is its arg-max, the first of several; plus infinity makes them NaN too. On a CPU a row is read from memory once
/// (the second look finds it in the cache), elsewhere through libtorch.
///
/// # Errors
/// Fewer than two tokens, no matrix, or libtorch.
pub fn token_stats(logits: &Tensor) -> Result<TokenStats> {
    const NAME: &str = "token_stats";
    let (n, v) = check::matrix(NAME, "logits", logits)?;
    if v < 2 {
        return Err(KernelError::Shape {
            kernel: NAME,
            operand: "logits",
            found: vec![n, v],
            expected: "[n, v] with at least two tokens".into(),
        });
    }
    if n == 0 {
        let none = |kind| Tensor::f_zeros([0], (kind, logits.device()));
        return Ok(TokenStats {
            argmax: none(Kind::Int64)?,
            p1: none(Kind::Float)?,
            p2: none(Kind::Float)?,
            entropy: none(Kind::Float)?,
        });
    }
    if host::is_host(logits) {
        let logits = host::plain(logits)?;
        return numbers!(logits, l => on_host(l, v as usize));
    }
    #[cfg(feature = "cuda")]
    if let Some(stats) = crate::cuda::stats(logits)? {
        return Ok(stats);
    }
    through_libtorch(logits)
}

/// Statistics through libtorch, where the tensors are.
pub(crate) fn through_libtorch(logits: &Tensor) -> Result<TokenStats> {
    let log_p = logits.f_log_softmax(-1, Kind::Float)?; // [n, v]
    let p = log_p.f_exp()?;
    let (top, _) = p.f_topk(2, -1, true, true)?; // [n, 2]
    // A removed token has log p = -inf and adds nothing: xlogy(0, ·) style, not 0 · inf.
    let terms = p
        .f_mul(&log_p)?
        .f_masked_fill(&log_p.f_eq(f64::NEG_INFINITY)?, 0)?;
    Ok(TokenStats {
        argmax: logits.f_argmax(-1, false)?,
        p1: top.f_select(1, 0)?.f_contiguous()?,
        p2: top.f_select(1, 1)?.f_contiguous()?,
        entropy: terms
            .f_sum_dim_intlist(-1i64, false, Kind::Float)?
            .f_neg()?,
    })
}

/// Statistics of rows in host memory.
fn on_host<T: Element>(logits: &[T], v: usize) -> Result<TokenStats> {
    let level = Level::current();
    let tasks: Vec<_> = logits.chunks(v * BLOCK).collect();
    let rows: Vec<_> = pool::run(tasks, logits.len(), |block| {
        let rows = block.chunks_exact(v);
        rows.map(|row| (row_stats(level, row), row))
            .collect::<Vec<_>>()
    })
    .into_iter()
    .flatten()
    .collect();
    let column = |of: fn(&Row) -> f32| {
        let values: Vec<f32> = rows.iter().map(|(row, _)| of(row)).collect();
        Tensor::f_from_slice(&values)
    };
    let argmax: Vec<i64> = rows
        .iter()
        .map(|(row, logits)| row.argmax(logits))
        .collect();
    Ok(TokenStats {
        argmax: Tensor::f_from_slice(&argmax)?,
        p1: column(|row| (1.0 / row.sum) as f32)?,
        p2: column(|row| (f64::from(exp(row.second - row.first)) / row.sum) as f32)?,
        entropy: column(|row| (row.sum.ln() - row.moved / row.sum) as f32)?,
    })
}

/// What one sweep over a row finds.
struct Row {
    /// Largest logit and the second largest, equal where there are two; NaN passed over.
    first: f32,
    second: f32,
    /// Sum of `exp(logit - first)`, and of that times `logit - first`.
    sum: f64,
    moved: f64,
}

impl Row {
    fn argmax<T: Element>(&self, logits: &[T]) -> i64 {
        let nan = if self.sum.is_nan() {
            logits.iter().position(|l| l.f32().is_nan())
        } else {
            None
        };
        let largest = || logits.iter().position(|l| l.f32() == self.first);
        nan.or_else(largest).map_or(0, |i| i as i64)
    }
}

levels! {
    fn row_stats<T: Element>(logits: &[T]) -> Row = row_body;
}

#[inline(always)]
fn row_body<T: Element>(logits: &[T]) -> Row {
    let (first, second) = two_largest(logits);
    let (mut sums, mut moved) = ([0.0f64; LANES], [0.0f64; LANES]);
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            let (weight, term) = entropy_term(chunk[lane].f32() - first);
            sums[lane] += weight;
            moved[lane] += term;
        }
    }
    for ((sum, moved), l) in sums.iter_mut().zip(&mut moved).zip(rest) {
        let (weight, term) = entropy_term(l.f32() - first);
        *sum += weight;
        *moved += term;
    }
    Row {
        first,
        second,
        sum: sums.iter().sum(),
        moved: moved.iter().sum(),
    }
}

/// `exp(x)` and `exp(x) · x`, 0 where the exponential is 0.
#[inline(always)]
fn entropy_term(x: f32) -> (f64, f64) {
    let weight = exp(x);
    let term = f64::from(weight) * f64::from(x);
    (f64::from(weight), if weight == 0.0 { 0.0 } else { term })
}

#[inline(always)]
fn two_largest<T: Element>(logits: &[T]) -> (f32, f32) {
    let mut first = [f32::NEG_INFINITY; LANES];
    let mut second = first;
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            (first[lane], second[lane]) = push(first[lane], second[lane], chunk[lane].f32());
        }
    }
    for (lane, l) in rest.iter().enumerate() {
        (first[lane], second[lane]) = push(first[lane], second[lane], l.f32());
    }
    let all = first.into_iter().chain(second);
    all.fold((f32::NEG_INFINITY, f32::NEG_INFINITY), |(a, b), l| {
        push(a, b, l)
    })
}

/// The two largest of `first >= second` and `l`; comparisons with NaN are false, so it never enters.
#[inline(always)]
fn push(first: f32, second: f32, l: f32) -> (f32, f32) {
    let below = if l > first { first } else { l };
    (
        if l > first { l } else { first },
        if below > second { below } else { second },
    )
}
