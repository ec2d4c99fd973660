//! Which rows a grid counts, where scopes are, and the costs of counted rows until they are read.

use harness_kernels::Targets;
use tch::{Device, Tensor};

use super::{
    batch::{Batch, Scope},
    error::EvalError,
};

/// Tokens that are scored, by which logits.
#[derive(Clone, Debug)]
pub struct ScoredSet {
    /// `[b, t]`: tokens that count.
    pub positions: Vec<bool>,
    /// 0 when the logits of a position score that position, 1 when those of the position before do;
    /// a row's first token is then scored by its own logits, as the reference sampler's shift does.
    /// A model's own value is `ModelInfo::logit_offset`.
    pub logit_offset: usize,
}

/// Costs of the counted rows where they were computed, chunk by chunk: `[n] f64` each.
pub(super) struct Costs {
    pub(super) clean: Vec<Tensor>,
    /// For each splice, its costs and its divergences.
    pub(super) spliced: Vec<(Vec<Tensor>, Vec<Tensor>)>,
}

impl Costs {
    /// All of them, in the order in which [`Costs::split`] takes them.
    pub(super) fn tensors(&self) -> Vec<&Tensor> {
        let spliced = self.spliced.iter();
        let of_splices = spliced.flat_map(|(ce, kl)| ce.iter().chain(kl));
        self.clean.iter().chain(of_splices).collect()
    }

    /// The numbers of each list, from what [`Costs::tensors`] are on the host.
    pub(super) fn split(&self, read: &[Tensor]) -> Result<CostNumbers, EvalError> {
        let mut read = read.iter();
        let mut take = |parts: &[Tensor]| -> Result<Vec<f64>, EvalError> {
            let mut numbers = Vec::new();
            for part in read.by_ref().take(parts.len()) {
                numbers.extend(Vec::<f64>::try_from(part)?);
            }
            Ok(numbers)
        };
        let clean = take(&self.clean)?;
        let spliced = (self.spliced.iter())
            .map(|(ce, kl)| Ok([take(ce)?, take(kl)?]))
            .collect::<Result<_, EvalError>>()?;
        Ok(CostNumbers { clean, spliced })
    }
}

/// [`Costs`] on the host.
pub(super) struct CostNumbers {
    pub(super) clean: Vec<f64>,
    /// For each splice, its costs and its divergences.
    pub(super) spliced: Vec<[Vec<f64>; 2]>,
}

/// Where a scope is that is not all positions.
pub(super) struct Part {
    /// Among the real positions: `[n] i64`.
    pub(super) among: Tensor,
    /// Among all: `[n] i64`.
    pub(super) index: Tensor,
}

/// Scopes of splices that are not all positions, each once.
pub(super) fn parts(
    batch: &Batch,
    splices: &[(usize, Scope)],
    device: Device,
) -> Result<Vec<(Scope, Part)>, EvalError> {
    let mut parts: Vec<(Scope, Part)> = Vec::new();
    let valid: Vec<usize> = (0..batch.is_valid.len())
        .filter(|i| batch.is_valid[*i])
        .collect();
    for (_, at) in splices {
        if *at == Scope::All || parts.iter().any(|(scope, _)| scope == at) {
            continue;
        }
        let positions = batch.positions(*at);
        let among = (0..valid.len()).filter(|i| positions[valid[*i]]);
        let all = (0..positions.len()).filter(|i| positions[*i]);
        let part = Part {
            among: index(among, device)?,
            index: index(all, device)?,
        };
        parts.push((*at, part));
    }
    Ok(parts)
}

/// `[n] i64` on a device.
pub(super) fn index(at: impl Iterator<Item = usize>, device: Device) -> Result<Tensor, EvalError> {
    let at: Vec<i64> = at.map(|i| i as i64).collect();
    Ok(Tensor::f_from_slice(&at)?.f_to_device(device)?)
}

/// Rows that go through the head: those of the first set, then those of the next.
pub(super) struct CountedRows {
    /// For each set, the flat indices of its tokens.
    pub(super) at: Vec<Vec<usize>>,
    /// `[n_rows] i64`: whose logits score them.
    pub(super) index: Tensor,
    /// `[n_rows]`.
    pub(super) targets: Targets,
}

impl CountedRows {
    pub(super) fn new(
        batch: &Batch,
        scored: &[ScoredSet],
        vocab_size: usize,
        device: Device,
    ) -> Result<Self, EvalError> {
        let n = batch.b * batch.t;
        let (mut at, mut rows, mut targets) = (Vec::new(), Vec::<i64>::new(), Vec::<i64>::new());
        for set in scored {
            if set.positions.len() != n {
                return Err(EvalError::Shape(format!(
                    "{} flags for {} rows of {} positions",
                    set.positions.len(),
                    batch.b,
                    batch.t
                )));
            }
            let own: Vec<usize> = (0..n).filter(|i| set.positions[*i]).collect();
            rows.extend(own.iter().map(|i| {
                let shifts = i % batch.t >= set.logit_offset;
                (if shifts { i - set.logit_offset } else { *i }) as i64
            }));
            targets.extend(own.iter().map(|i| batch.target_ids[*i]));
            at.push(own);
        }
        Ok(Self {
            at,
            index: Tensor::f_from_slice(&rows)?.f_to_device(device)?,
            targets: Targets::new(&targets, vocab_size as i64, device)?,
        })
    }

    /// Values of all rows, by set.
    pub(super) fn split(&self, values: &[f64]) -> Vec<Vec<f64>> {
        let mut rest = values;
        self.at
            .iter()
            .map(|own| {
                let (first, after) = rest.split_at(own.len().min(rest.len()));
                rest = after;
                first.to_vec()
            })
            .collect()
    }
}
