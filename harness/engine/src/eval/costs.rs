//! Cross-entropy of chosen positions.

use tch::{Kind, Tensor};

use super::error::EvalError;
use crate::plugin::Pass;

/// Which positions are scored, against what, and by which logits.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// `[b, t]`: positions that count.
    pub positions: &'a [bool],
    /// `[b, t]`: the token each should be.
    pub targets: &'a [i64],
    /// 0 when the logits of a position score that position, 1 when those of the position before do; a row's first position is then scored by
    /// its own logits, as the reference sampler's shift does. A model's own value is `ModelInfo::logit_offset`.
    pub logit_offset: usize,
}

/// Cost in nats of each scored position, 0 elsewhere.
///
/// - `last`: `[b, t, d_model]`, the residual after the last block
/// - returns `[b, t] f32` row-major
///
/// # Errors
/// [`EvalError::Shape`] when the parts do not fit; failures of the head.
pub fn position_costs(
    pass: &mut Pass,
    last: &Tensor,
    scored: &Scored<'_>,
) -> Result<Vec<f32>, EvalError> {
    let shape = last.size();
    let [b, t, d_model] = shape[..] else {
        return Err(EvalError::Shape(format!(
            "a residual of shape {shape:?}, not [b, t, d_model]"
        )));
    };
    let n = (b * t) as usize;
    if scored.positions.len() != n || scored.targets.len() != n {
        let message = format!(
            "{} flags and {} targets for {b} rows of {t} positions",
            scored.positions.len(),
            scored.targets.len()
        );
        return Err(EvalError::Shape(message));
    }
    let t = t as usize;
    let at: Vec<usize> = (0..n).filter(|i| scored.positions[*i]).collect();
    let mut costs = vec![0.0; n];
    if at.is_empty() {
        return Ok(costs);
    }
    let source = |i: usize| {
        if i % t >= scored.logit_offset {
            i - scored.logit_offset
        } else {
            i
        }
    };
    let rows: Vec<i64> = at.iter().map(|i| source(*i) as i64).collect();
    let targets: Vec<i64> = at.iter().map(|i| scored.targets[*i]).collect();
    let index = Tensor::f_from_slice(&rows)?.f_to_device(last.device())?;
    let rows = last
        .f_reshape([n as i64, d_model])?
        .f_index_select(0, &index)?; // [n_scored, d_model]
    let ce = pass.unembed_ce(&rows, &Tensor::f_from_slice(&targets)?)?;
    let ce = Vec::<f32>::try_from(&ce.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Float)?)?;
    for (i, cost) in at.into_iter().zip(ce) {
        costs[i] = cost;
    }
    Ok(costs)
}
