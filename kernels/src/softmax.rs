//! Normalisers of rows of logits on a CPU: exponentials in f32, sums in f64.

use crate::{
    exp::exp,
    host::Element,
    pool,
    simd::{Level, levels},
};

/// Numbers that are in flight at a time.
pub(crate) const LANES: usize = 16;
/// Rows of a task.
pub(crate) const BLOCK: usize = 4;

/// Normaliser of one row: the log-sum-exp is `max + log_sum`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub max: f32,
    /// Sum of `exp(logit - max)`.
    pub sum: f64,
}

impl Row {
    /// Log of the sum of exponentials.
    pub(crate) fn log_sum_exp(self) -> f64 {
        f64::from(self.max) + self.sum.ln()
    }
}

/// Normalisers of `logits: [n, v]`.
pub(crate) fn normalisers<T: Element>(logits: &[T], v: usize) -> Vec<Row> {
    let level = Level::current();
    let tasks: Vec<_> = logits.chunks(v * BLOCK).collect();
    let parts = pool::run(tasks, logits.len(), |block| {
        let rows = block.chunks_exact(v);
        rows.map(|row| normaliser(level, row)).collect::<Vec<_>>()
    });
    parts.into_iter().flatten().collect()
}

levels! {
    fn normaliser<T: Element>(logits: &[T]) -> Row = normaliser_body;
}

/// Largest number, NaN passed over: what it spoils shows in the sums.
#[inline(always)]
pub(crate) fn max_body<T: Element>(logits: &[T]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            let l = chunk[lane].f32();
            lanes[lane] = if l > lanes[lane] { l } else { lanes[lane] };
        }
    }
    for (lane, l) in lanes.iter_mut().zip(rest) {
        *lane = if l.f32() > *lane { l.f32() } else { *lane };
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

#[inline(always)]
fn normaliser_body<T: Element>(logits: &[T]) -> Row {
    let max = max_body(logits);
    let mut sums = [0.0f64; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += f64::from(exp(chunk[lane].f32() - max));
        }
    }
    for (sum, l) in sums.iter_mut().zip(rest) {
        *sum += f64::from(exp(l.f32() - max));
    }
    Row {
        max,
        sum: sums.iter().sum(),
    }
}
