//! One pass through a model with steering and captures between its blocks.

use tch::{Device, Tensor};

use super::{
    GenerateError,
    observe::{Observer, ResidualReport, Steered, Wants},
    sampling::{Choices, Needed, Packed, Sampling, choose, choose_by_sort},
    steer::{PassState, Steering},
};
use crate::{device, plugin::Pass};

/// The residual of a pass after the last block, and what was kept on the way.
pub(super) struct Passed {
    pub(super) last: Tensor, // [b, t, d_model]
    pub(super) steered: Option<Steered>,
}

/// Who watches a pass, and what of it.
pub(super) struct Watched<'a, 'o> {
    pub(super) wants: &'a Wants,
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

/// How tokens are chosen in a step.
pub(super) struct Choice<'a> {
    pub(super) sampling: &'a Sampling,
    pub(super) needed: Needed,
    /// A draw in [0, 1) for each row, read at temperatures above 0 only.
    pub(super) draws: &'a [f64],
}

/// Chooses tokens in `n` rows of logits over `v` tokens on a device, of which no more logits are
/// alive at a time than a chunk; what was chosen comes to the host in one read, with what the
/// observer of the pass needs there.
///
/// - `logits`: of the rows with these numbers, `[rows, v] f32`
pub(super) fn choose_rows(
    (n, v, device): (usize, usize, Device),
    choice: &Choice<'_>,
    observer: Option<&mut (dyn Observer + '_)>,
    logits: impl FnMut(&[usize]) -> Result<Tensor, GenerateError>,
) -> Result<Choices, GenerateError> {
    choose_rows_by(choose, (n, v, device), choice, observer, logits)
}

/// Brings to the host what the observer of a pass needs there, where no token is chosen.
pub(super) fn read_alone(observer: &mut (dyn Observer + '_)) -> Result<(), GenerateError> {
    let (_, read) = Choices::read(&[], &observer.unread())?;
    observer.read(&read)
}

/// [`choose_rows`] by a form of choosing that may leave rows open; they are settled by a sort.
fn choose_rows_by(
    form: impl Fn(&Tensor, &Sampling, Needed, &[f64]) -> Result<Packed, GenerateError>,
    (n, v, device): (usize, usize, Device),
    choice: &Choice<'_>,
    observer: Option<&mut (dyn Observer + '_)>,
    mut logits: impl FnMut(&[usize]) -> Result<Tensor, GenerateError>,
) -> Result<Choices, GenerateError> {
    let draws_of = |rows: &[usize]| -> Vec<f64> {
        (rows.iter())
            .filter_map(|row| choice.draws.get(*row).copied())
            .collect()
    };
    let all: Vec<usize> = (0..n).collect();
    let mut packed = Vec::new();
    for rows in all.chunks(chunk_rows(v, device)) {
        let draws = draws_of(rows);
        packed.push(form(
            &logits(rows)?,
            choice.sampling,
            choice.needed,
            &draws,
        )?);
    }
    let also = (observer.as_ref()).map_or_else(Vec::new, |observer| observer.unread());
    let (mut choices, read) = Choices::read(&packed, &also)?;
    if let Some(observer) = observer {
        observer.read(&read)?;
    }
    let open = std::mem::take(&mut choices.open);
    for rows in open.chunks(chunk_rows(v, device)) {
        let draws = draws_of(rows);
        let sorted = choose_by_sort(&logits(rows)?, choice.sampling, choice.needed, &draws)?;
        let (settled, _) = Choices::read(&[sorted], &[])?;
        for (k, &row) in rows.iter().enumerate() {
            choices.token[row] = settled.token[k];
            choices.confidence[row] = settled.confidence[k];
            choices.margin[row] = settled.margin[k];
            choices.neg_entropy[row] = settled.neg_entropy[k];
        }
    }
    Ok(choices)
}

/// Rows whose logits fit [`device::logit_bytes`], at least one.
fn chunk_rows(v: usize, device: Device) -> usize {
    (device::logit_bytes(device) / (4 * v.max(1))).max(1)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::sampling::{SamplingRule, choose_by_tensors};

    /// Rows too many for one chunk, half of them with more equal tokens than a selection looks at.
    #[test]
    fn rows_that_a_selection_leaves_open_are_settled() {
        let (n, v, device) = (1031, 1 << 14, Device::Cpu);
        assert_eq!(chunk_rows(v, device), 1024);
        let sampling = Sampling {
            temperature: 1.0,
            top_p: Some(0.9),
            top_k: Some(3),
            rule: SamplingRule::NucleusFirst,
        };
        let draws: Vec<f64> = (0..n).map(|row| row as f64 / n as f64).collect();
        let choice = Choice {
            sampling: &sampling,
            needed: Needed {
                confidence: true,
                ..Needed::default()
            },
            draws: &draws,
        };
        // Even rows are flat but for two tokens, odd ones fall off.
        let logits = |rows: &[usize]| -> Result<Tensor, GenerateError> {
            let one = |row: &usize| {
                let options = (tch::Kind::Float, device);
                let falling = Tensor::arange(v as i64, options) * -0.5;
                match row % 2 {
                    0 => falling.clamp(-1.0, 0.0),
                    _ => falling,
                }
            };
            Ok(Tensor::stack(&rows.iter().map(one).collect::<Vec<_>>(), 0))
        };
        let mut asked = 0;
        let selected = choose_rows_by(choose_by_tensors, (n, v, device), &choice, None, |rows| {
            asked += rows.len();
            logits(rows)
        })
        .unwrap();
        // The 516 even rows are asked for twice.
        assert_eq!((asked, selected.open.len()), (n + 516, 0));
        let plain = choose_rows((n, v, device), &choice, None, logits).unwrap();
        assert_eq!(selected.token, plain.token);
        assert!(selected.token.iter().any(|token| *token > 3));
        for (a, b) in selected.confidence.iter().zip(&plain.confidence) {
            assert!((a - b).abs() <= 2e-5 * b, "{a} for {b}");
        }
    }
}
