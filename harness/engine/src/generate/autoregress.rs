//! Autoregressive sampling with stored keys and values.

use tch::Tensor;

use super::{
    GenerateError, Generated, Observer, Steering, StepReport, TokenGrid,
    draws::TokenDraws,
    forward::{self, Choice, Watched, check_wants, choose_rows, logits_at, reborrowed},
    generated::padding_id,
    sampling::{Needed, Sampling},
    steer::PassState,
};
use crate::plugin::{CacheMode, Model, ModelInfo, Objective, Pass};
use crate::steps;

/// An autoregressive run over rows that share a batch.
#[derive(Clone, Debug)]
pub struct AutoregressRequest<'a> {
    /// Token ids of the prompts, none of them empty. `[b]` rows of any lengths
    pub prompts: &'a [Vec<i64>],
    /// Keys of the rows' random numbers. `[b]`
    pub item_ids: &'a [u64],
    /// Tokens generated at most for each row.
    pub max_new_tokens: usize,
    /// Tokens after which a row ends; `None` takes the model's own.
    pub stop_ids: Option<&'a [i64]>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    pub seed: u64,
}

/// Generates token by token. A row ends with its end token, which is part of it.
///
/// Steering moves every position of the prompt in the first pass and each new token in its own.
///
/// # Errors
/// A model that is not autoregressive; a request that does not fit it, or itself; plugins'
/// failures.
pub fn autoregress(
    model: &mut Model,
    request: &AutoregressRequest<'_>,
    mut steering: Option<&mut Steering<'_>>,
    mut observer: Option<&mut dyn Observer>,
) -> Result<Generated, GenerateError> {
    let _guard = tch::no_grad_guard();
    let info = model.info()?.clone();
    check(&info, request)?;
    let wants = observer
        .as_ref()
        .map(|observer| observer.wants())
        .unwrap_or_default();
    check_wants(&wants, info.n_layers)?;
    if let Some(steering) = steering.as_deref() {
        steering.check(request.prompts.len(), info.d_model, info.n_layers)?;
    }
    let pad_id = padding_id(&info);
    let stop_ids = request.stop_ids.unwrap_or(&info.eos_token_ids);
    let mut grid = TokenGrid::left_padded(request.prompts, request.max_new_tokens, pad_id, pad_id)?;
    let (b, t) = (grid.b(), grid.t());
    let prompt_width = t - request.max_new_tokens;
    // The last token is chosen and never read.
    let valid = grid.valid_tensor()?; // [b, t]
    let mut pass = model.begin(&valid.f_narrow(1, 0, t as i64 - 1)?, CacheMode::ON)?;
    let mut draws = TokenDraws::new(request.seed, request.item_ids);
    let mut decode_step = vec![-1; b * t];
    let mut n_new = vec![0; b];
    let mut ended = vec![false; b];
    let (mut start, mut filled) = (0, prompt_width);
    for step in 0..request.max_new_tokens {
        let _step = steps::step();
        let columns = |tensor: &Tensor| tensor.f_narrow(1, start as i64, (filled - start) as i64);
        let is_valid = columns(&valid)?.f_contiguous()?; // [b, filled - start]
        let tokens = columns(&grid.tensor()?)?.f_contiguous()?;
        let is_masked = is_valid.f_zeros_like()?;
        let n_steps = request.max_new_tokens;
        let state = PassState {
            step,
            n_steps,
            is_valid: &is_valid,
            is_masked: &is_masked,
        };
        let passed = forward::run(
            &mut pass,
            &tokens,
            start,
            info.n_layers,
            steering.as_deref_mut(),
            state,
            Watched {
                wants: &wants,
                observer: reborrowed(&mut observer),
            },
        )?;
        draws.at_step(step);
        let next = next_tokens(
            &mut pass,
            &passed.last,
            &info,
            request,
            &grid,
            (filled, &draws),
            reborrowed(&mut observer),
        )?;
        let before = observer.is_some().then(|| grid.clone());
        let mut revealed = vec![false; b * t];
        for r in 0..b {
            if ended[r] {
                continue;
            }
            let i = r * t + filled;
            grid.tokens_mut()[i] = next[r];
            decode_step[i] = step as i64;
            revealed[i] = true;
            n_new[r] += 1;
            ended[r] = stop_ids.contains(&next[r]);
        }
        if let (Some(observer), Some(before)) = (observer.as_deref_mut(), before) {
            observer.step(&StepReport {
                step,
                before: &before,
                after: &grid,
                revealed: &revealed,
                steered: passed.steered.as_ref(),
            })?;
        }
        (start, filled) = (filled, filled + 1);
        if ended.iter().all(|ended| *ended) {
            break;
        }
    }
    let decode_step = decode_step
        .chunks(t)
        .flat_map(|row| row[..filled].to_vec())
        .collect();
    grid.truncate(filled);
    Ok(Generated {
        tokens: grid,
        decode_step,
        n_new,
    })
}

/// The next token of every row, from the last position of a pass. `[b]`
fn next_tokens(
    pass: &mut Pass,
    last: &Tensor,
    info: &ModelInfo,
    request: &AutoregressRequest<'_>,
    grid: &TokenGrid,
    (filled, draws): (usize, &TokenDraws),
    observer: Option<&mut (dyn Observer + '_)>,
) -> Result<Vec<i64>, GenerateError> {
    let (b, width) = (grid.b(), last.size()[1] as usize);
    let position = |r: usize| filled - grid.pad()[r];
    let draws: Vec<f64> = (0..b).map(|r| draws.uniform(r, position(r))).collect();
    let choice = Choice {
        sampling: &request.sampling.in_run(),
        needed: Needed::default(),
        draws: &draws,
    };
    let place = (b, info.vocab_size, last.device());
    let choices = choose_rows(place, &choice, observer, |rows| {
        let at: Vec<usize> = rows.iter().map(|r| (r + 1) * width - 1).collect();
        logits_at(pass, last, &at) // [n, v]
    })?;
    match choices.broken {
        Some(r) => Err(GenerateError::NotFinite {
            item: request.item_ids[r],
            position: position(r),
        }),
        None => Ok(choices.token),
    }
}

fn check(info: &ModelInfo, request: &AutoregressRequest<'_>) -> Result<(), GenerateError> {
    let refuse = |message: String| Err(GenerateError::Request(message));
    if info.objective != Objective::Autoregressive {
        return refuse(format!(
            "a {} model denoises; it does not generate token by token",
            info.family
        ));
    }
    request.sampling.check()?;
    if request.prompts.len() != request.item_ids.len() {
        return refuse(format!(
            "{} item ids for {} prompts",
            request.item_ids.len(),
            request.prompts.len()
        ));
    }
    if request.max_new_tokens == 0 {
        return refuse("0 new tokens: must be at least 1".to_owned());
    }
    match request.prompts.iter().position(Vec::is_empty) {
        Some(row) => refuse(format!(
            "the prompt of row {row} is empty: there is no token to go on from"
        )),
        None => Ok(()),
    }
}
