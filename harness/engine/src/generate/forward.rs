//! One pass through a model with steering and captures between its blocks.

use tch::Tensor;

use super::{
    GenerateError, TokenGrid,
    observe::{Observer, ResidualReport, Steered, Wants},
    steer::{PassState, Steering},
};
use crate::plugin::Pass;

/// Most bytes of float32 logits alive at a time.
const LOGITS_BYTES: usize = 64 << 20;

/// The residual of a pass after the last block, and what was kept on the way.
pub(super) struct Passed {
    pub(super) last: Tensor, // [b, t, d_model]
    pub(super) steered: Option<Steered>,
}

/// Who watches a pass, and what of it.
pub(super) struct Watched<'a, 'o> {
    pub(super) wants: &'a Wants,
    /// The sequence the pass runs on.
    pub(super) grid: &'a TokenGrid,
    pub(super) observer: Option<&'a mut (dyn Observer + 'o)>,
}

/// Runs `tokens: [b, t]` at columns from `start` through all blocks.
pub(super) fn run(
    pass: &mut Pass,
    tokens: &Tensor,
    start: usize,
    n_layers: usize,
    mut steering: Option<&mut Steering<'_>>,
    state: PassState<'_>,
    watched: Watched<'_, '_>,
) -> Result<Passed, GenerateError> {
    let Watched {
        wants,
        grid,
        mut observer,
    } = watched;
    let shown: &[usize] = match observer {
        Some(_) => &wants.layers,
        None => &[],
    };
    let mut stops: Vec<usize> = shown.iter().map(|layer| layer + 1).collect();
    stops.extend(steering.as_ref().map(|steering| steering.layer() + 1));
    stops.push(n_layers);
    stops.sort_unstable();
    stops.dedup();
    let mut resid = pass.embed(tokens, start)?; // [b, t, d_model]
    let (mut done, mut steered) = (0, None);
    for stop in stops {
        pass.blocks(done, stop, &mut resid)?;
        done = stop;
        if let Some(observer) = observer.as_deref_mut()
            && shown.contains(&(stop - 1))
        {
            observer.residual(&ResidualReport {
                step: state.step,
                layer: stop - 1,
                before: grid,
                start,
                resid: &resid,
            })?;
        }
        if let Some(steering) = steering.as_deref_mut()
            && steering.layer() + 1 == stop
        {
            steered = steering.apply(&mut resid, state, wants.steering)?;
        }
    }
    Ok(Passed {
        last: resid,
        steered,
    })
}

/// The observer for a part of a run.
pub(super) fn reborrowed<'a, 'o>(
    observer: &'a mut Option<&mut (dyn Observer + 'o)>,
) -> Option<&'a mut (dyn Observer + 'o)> {
    match observer {
        Some(observer) => Some(&mut **observer),
        None => None,
    }
}

/// The layers an observer asks for exist.
pub(super) fn check_wants(wants: &Wants, n_layers: usize) -> Result<(), GenerateError> {
    match wants.layers.iter().find(|layer| **layer >= n_layers) {
        Some(layer) => Err(GenerateError::request(format!(
            "layer {layer} out of range: the model has {n_layers} blocks, 0 to {}",
            n_layers - 1
        ))),
        None => Ok(()),
    }
}

/// Runs of indices whose logits fit [`LOGITS_BYTES`], at least one each.
pub(super) fn logit_chunks(
    n: usize,
    vocab_size: usize,
) -> impl Iterator<Item = std::ops::Range<usize>> {
    let step = (LOGITS_BYTES / (4 * vocab_size.max(1))).max(1);
    (0..n)
        .step_by(step)
        .map(move |start| start..(start + step).min(n))
}

/// Logits of chosen rows of `last: [b, t, d_model]`, by flat position. `[n, v] f32`
pub(super) fn logits_at(
    pass: &mut Pass,
    last: &Tensor,
    positions: &[usize],
) -> Result<Tensor, GenerateError> {
    let d_model = last.size().last().copied().unwrap_or(0);
    let index: Vec<i64> = positions.iter().map(|position| *position as i64).collect();
    let index = Tensor::f_from_slice(&index)?.f_to_device(last.device())?;
    let rows = last
        .f_contiguous()?
        .f_view([-1, d_model])?
        .f_index_select(0, &index)?; // [n, d_model]
    Ok(pass.unembed(&rows)?)
}
