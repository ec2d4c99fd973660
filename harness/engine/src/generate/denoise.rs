//! Masked-diffusion sampling (Eq. 8): every step runs the model on the partly masked sequence, and
//! an order decides which masks are filled with the tokens chosen for them.

use harness_abi::RemaskNeeds;
use tch::Tensor;

use super::{
    GenerateError, Generated, Observer, OrderDraws, Steering, StepReport, TokenGrid, Wants,
    draws::{OrderSource, TokenDraws},
    forward::{self, Choice, Passed, Watched, check_wants, choose_rows, logits_at, reborrowed},
    generated::padding_id,
    grid::float_grid,
    sampling::{Needed, Sampling},
    steer::PassState,
};
use crate::plugin::{
    CacheMode, FeatureTensors, Model, ModelInfo, Objective, Pass, Remasker, StepTensors,
};
use crate::steps;

/// A denoising run over rows that share a batch.
#[derive(Clone, Debug)]
pub struct DenoiseRequest<'a> {
    /// Token ids of the prompts. `[b]` rows of any lengths
    pub prompts: &'a [Vec<i64>],
    /// Keys of the rows' random numbers. `[b]`
    pub item_ids: &'a [u64],
    /// Mask tokens appended to each prompt.
    pub max_new_tokens: usize,
    /// Denoising steps of the whole run (`dlm_steps`).
    pub steps: usize,
    /// Positions decoded before the next ones are begun; `None` decodes all together.
    pub block_length: Option<usize>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Classifier-free guidance w: logits u + (w + 1)(c - u), with u of the sequence whose prompt
    /// is masked. 0 is off.
    pub cfg_scale: f64,
    pub seed: u64,
    /// The draws that the order reads.
    pub order_draws: &'a OrderDraws,
}

/// What stays the same during a run.
struct Run<'a> {
    request: &'a DenoiseRequest<'a>,
    info: ModelInfo,
    mask_id: i64,
    sampling: Sampling,
    needed: Needed,
    wants: Wants,
    is_valid: Tensor, // [b, t]
    prompt_width: usize,
}

/// The tokens that would fill the eligible positions, with the statistics asked for; elsewhere 0.
/// `[b, t]` each
struct Candidates {
    tokens: Vec<i64>,
    confidence: Vec<f32>,
    margin: Vec<f32>,
    neg_entropy: Vec<f32>,
}

/// Generates by denoising.
///
/// Every mask token of a row is filled, those within its prompt together with the first block. The
/// mask token itself may be chosen; such a position stays masked.
///
/// # Errors
/// A model that is not one of masked diffusion; a request that does not fit it, or itself; plugins'
/// failures.
pub fn denoise(
    model: &mut Model,
    remasker: &mut Remasker,
    request: &DenoiseRequest<'_>,
    mut steering: Option<&mut Steering<'_>>,
    mut observer: Option<&mut dyn Observer>,
) -> Result<Generated, GenerateError> {
    let _guard = tch::no_grad_guard();
    let info = model.info()?.clone();
    let (mask_id, block_length) = check(&info, request)?;
    let wants = observer
        .as_ref()
        .map(|observer| observer.wants())
        .unwrap_or_default();
    check_wants(&wants, info.n_layers)?;
    if let Some(steering) = steering.as_deref() {
        steering.check(request.prompts.len(), info.d_model, info.n_layers)?;
    }
    let mut grid = TokenGrid::left_padded(
        request.prompts,
        request.max_new_tokens,
        mask_id,
        padding_id(&info),
    )?;
    let is_valid = grid.valid_tensor()?;
    let mut pass = model.begin(&is_valid, CacheMode::OFF)?;
    let prompt_width = grid.t() - request.max_new_tokens;
    let needed = Needed::by(remasker);
    let run = Run {
        request,
        info,
        mask_id,
        sampling: request.sampling.in_run(),
        needed,
        wants,
        is_valid,
        prompt_width,
    };
    let mut token_draws = TokenDraws::new(request.seed, request.item_ids);
    let mut order_draws = OrderSource::new(request.order_draws, request.seed, request.item_ids);
    let is_mask =
        |(i, token): (usize, &i64), grid: &TokenGrid| *token == mask_id && grid.is_valid(i);
    let mut decode_step: Vec<i64> = (grid.tokens().iter().enumerate())
        .map(|at| {
            if is_mask(at, &grid) {
                request.steps as i64
            } else {
                -1
            }
        })
        .collect();
    let n_blocks = request.max_new_tokens / block_length;
    let steps = request.steps / n_blocks;
    for block in 0..n_blocks {
        remasker.begin(steps, grid.b())?;
        let end = prompt_width + (block + 1) * block_length;
        for step_in_block in 0..steps {
            let step = block * steps + step_in_block;
            let eligible: Vec<bool> = (grid.tokens().iter().enumerate())
                .map(|(i, token)| i % grid.t() < end && is_mask((i, token), &grid))
                .collect();
            let anything = eligible.contains(&true);
            if !anything && observer.is_none() {
                break;
            }
            let _step = steps::step();
            let passed = run.pass(
                &mut pass,
                &grid,
                step,
                steering.as_deref_mut(),
                reborrowed(&mut observer),
            )?;
            let mut revealed = vec![false; eligible.len()];
            let before = grid.clone();
            if anything {
                let guide = run.unguided(&mut pass, &grid, step, steering.as_deref_mut())?;
                token_draws.at_step(step);
                let candidates = run.candidates(
                    &mut pass,
                    (&passed.last, guide.as_ref()),
                    &grid,
                    &eligible,
                    &token_draws,
                    reborrowed(&mut observer),
                )?;
                let uniform = match remasker.reads(RemaskNeeds::UNIFORM) {
                    true => Some(order_draws.step(step, &grid, &eligible)?),
                    false => None,
                };
                let place = (step_in_block, steps);
                if remasker.reads(RemaskNeeds::FEATURES) {
                    offer_features(remasker, step_in_block, reborrowed(&mut observer))?;
                }
                revealed = select(
                    remasker,
                    place,
                    &grid,
                    &eligible,
                    &candidates,
                    uniform.as_deref(),
                )?;
                for (i, _) in revealed.iter().enumerate().filter(|(_, is)| **is) {
                    grid.tokens_mut()[i] = candidates.tokens[i];
                    decode_step[i] = if candidates.tokens[i] == mask_id {
                        request.steps as i64
                    } else {
                        step as i64
                    };
                }
            } else if let Some(observer) = observer.as_deref_mut() {
                forward::read_alone(observer)?;
            }
            if let Some(observer) = observer.as_deref_mut() {
                observer.step(&StepReport {
                    step,
                    before: &before,
                    after: &grid,
                    revealed: &revealed,
                    steered: passed.steered.as_ref(),
                })?;
            }
        }
    }
    let n_new = vec![request.max_new_tokens; grid.b()];
    Ok(Generated {
        tokens: grid,
        decode_step,
        n_new,
    })
}

/// Checks a request; the mask token and the block length.
fn check(info: &ModelInfo, request: &DenoiseRequest<'_>) -> Result<(i64, usize), GenerateError> {
    let refuse = |message: String| Err(GenerateError::Request(message));
    let mask_id = match (info.objective, info.mask_token_id) {
        (Objective::MaskedDiffusion, Some(mask_id)) => mask_id,
        (Objective::MaskedDiffusion, None) => {
            return refuse(format!("the {} model names no mask token", info.family));
        }
        _ => {
            return refuse(format!(
                "a {} model is autoregressive; it cannot denoise",
                info.family
            ));
        }
    };
    request.sampling.check()?;
    let (new, steps) = (request.max_new_tokens, request.steps);
    if request.prompts.len() != request.item_ids.len() {
        return refuse(format!(
            "{} item ids for {} prompts",
            request.item_ids.len(),
            request.prompts.len()
        ));
    }
    if new == 0 || steps == 0 {
        return refuse(format!(
            "{new} new tokens in {steps} steps: both must be at least 1"
        ));
    }
    let block_length = request.block_length.unwrap_or(new);
    if block_length == 0 || !new.is_multiple_of(block_length) {
        return refuse(format!(
            "{new} new tokens do not divide into blocks of {block_length}"
        ));
    }
    if !steps.is_multiple_of(new / block_length) {
        return refuse(format!(
            "{steps} steps do not divide over {} blocks of {block_length}",
            new / block_length
        ));
    }
    if !(request.cfg_scale.is_finite() && request.cfg_scale >= 0.0) {
        return refuse(format!(
            "cfg_scale {} is not a finite number from 0 up",
            request.cfg_scale
        ));
    }
    Ok((mask_id, block_length))
}

impl Run<'_> {
    /// The pass on the sequence as it is.
    fn pass(
        &self,
        pass: &mut Pass,
        grid: &TokenGrid,
        step: usize,
        steering: Option<&mut Steering<'_>>,
        observer: Option<&mut (dyn Observer + '_)>,
    ) -> Result<Passed, GenerateError> {
        let is_masked = grid.flags(|i| grid.tokens()[i] == self.mask_id && grid.is_valid(i))?;
        self.forward(
            pass,
            &grid.tensor()?,
            &is_masked,
            step,
            steering,
            Watched {
                wants: &self.wants,
                observer,
            },
        )
    }

    /// The pass on the sequence with its prompt masked, where guidance is asked for; the residual
    /// after the last block.
    fn unguided(
        &self,
        pass: &mut Pass,
        grid: &TokenGrid,
        step: usize,
        steering: Option<&mut Steering<'_>>,
    ) -> Result<Option<Tensor>, GenerateError> {
        if self.request.cfg_scale == 0.0 {
            return Ok(None);
        }
        let mut masked = grid.clone();
        for i in 0..masked.tokens().len() {
            if i % grid.t() < self.prompt_width && grid.is_valid(i) {
                masked.tokens_mut()[i] = self.mask_id;
            }
        }
        let is_masked = grid.flags(|i| masked.tokens()[i] == self.mask_id && grid.is_valid(i))?;
        let unwatched = Watched {
            wants: &Wants::default(),
            observer: None,
        };
        let tokens = masked.tensor()?;
        let passed = self.forward(pass, &tokens, &is_masked, step, steering, unwatched)?;
        Ok(Some(passed.last))
    }

    fn forward(
        &self,
        pass: &mut Pass,
        tokens: &Tensor,
        is_masked: &Tensor,
        step: usize,
        steering: Option<&mut Steering<'_>>,
        watched: Watched<'_, '_>,
    ) -> Result<Passed, GenerateError> {
        let state = PassState {
            step,
            n_steps: self.request.steps,
            is_valid: &self.is_valid,
            is_masked,
        };
        forward::run(
            pass,
            tokens,
            0,
            self.info.n_layers,
            steering,
            state,
            watched,
        )
    }

    /// Chooses a token for every eligible position; the head runs on these rows only. What the
    /// observer of the pass needs on the host comes with the tokens.
    fn candidates(
        &self,
        pass: &mut Pass,
        (last, unguided): (&Tensor, Option<&Tensor>),
        grid: &TokenGrid,
        eligible: &[bool],
        draws: &TokenDraws,
        observer: Option<&mut (dyn Observer + '_)>,
    ) -> Result<Candidates, GenerateError> {
        let t = grid.t();
        let at: Vec<usize> = (0..eligible.len()).filter(|i| eligible[*i]).collect();
        // A row's first token has none before it to be scored by.
        let scored_by = |i: usize| {
            if grid.position(i) >= self.info.logit_offset {
                i - self.info.logit_offset
            } else {
                i
            }
        };
        let zeros = || vec![0.0; eligible.len()];
        let mut out = Candidates {
            tokens: grid.tokens().to_vec(),
            confidence: zeros(),
            margin: zeros(),
            neg_entropy: zeros(),
        };
        let draws: Vec<f64> = match self.sampling.temperature > 0.0 {
            true => at
                .iter()
                .map(|i| draws.uniform(i / t, grid.position(*i)))
                .collect(),
            false => Vec::new(),
        };
        let choice = Choice {
            sampling: &self.sampling,
            needed: self.needed,
            draws: &draws,
        };
        let place = (at.len(), self.info.vocab_size, last.device());
        let choices = choose_rows(place, &choice, observer, |rows| {
            let rows: Vec<usize> = rows.iter().map(|row| scored_by(at[*row])).collect();
            let logits = logits_at(pass, last, &rows)?; // [n, v]
            let Some(unguided) = unguided else {
                return Ok(logits);
            };
            let u = logits_at(pass, unguided, &rows)?;
            let scale = self.request.cfg_scale + 1.0;
            Ok(logits.f_sub(&u)?.f_mul_scalar(scale)?.f_add(&u)?)
        })?;
        if let Some(broken) = choices.broken {
            let (item, position) = (
                self.request.item_ids[at[broken] / t],
                grid.position(at[broken]),
            );
            return Err(GenerateError::NotFinite { item, position });
        }
        for (k, &i) in at.iter().enumerate() {
            out.tokens[i] = choices.token[k];
            out.confidence[i] = choices.confidence[k];
            out.margin[i] = choices.margin[k];
            out.neg_entropy[i] = choices.neg_entropy[k];
        }
        Ok(out)
    }
}

/// Gives the order what the features of the pass did.
fn offer_features(
    remasker: &mut Remasker,
    step: usize,
    observer: Option<&mut (dyn Observer + '_)>,
) -> Result<(), GenerateError> {
    let offered = match observer {
        Some(observer) => observer.features()?,
        None => None,
    };
    let Some(features) = offered else {
        return Err(GenerateError::request(
            "the decoding order reads SAE features, and this run has no SAEs; use it in a bench that has, such as decoding-order",
        ));
    };
    Ok(remasker.features(&FeatureTensors {
        step,
        layers: &features.layers,
        jaccard: &features.jaccard,
        top1_same: &features.top1_same,
    })?)
}

/// Asks the order which positions to fill. `[b, t]`
fn select(
    remasker: &mut Remasker,
    (step, n_steps): (usize, usize),
    grid: &TokenGrid,
    eligible: &[bool],
    candidates: &Candidates,
    uniform: Option<&[f32]>,
) -> Result<Vec<bool>, GenerateError> {
    let (b, t) = (grid.b(), grid.t());
    let candidate = Tensor::f_from_slice(&candidates.tokens)?.f_view([b as i64, t as i64])?;
    let confidence = float_grid(&candidates.confidence, b, t)?;
    let margin = float_grid(&candidates.margin, b, t)?;
    let neg_entropy = float_grid(&candidates.neg_entropy, b, t)?;
    let uniform = uniform
        .map(|uniform| float_grid(uniform, b, t))
        .transpose()?;
    let reveal = remasker.select(&StepTensors {
        step,
        n_steps,
        tokens: &grid.tensor()?,
        eligible: &grid.flags(|i| eligible[i])?,
        candidate: &candidate,
        confidence: Some(&confidence),
        margin: Some(&margin),
        neg_entropy: Some(&neg_entropy),
        uniform: uniform.as_ref(),
    })?;
    let reveal = Vec::<u8>::try_from(&reveal.f_contiguous()?.f_view([-1])?)?;
    Ok(reveal.into_iter().map(|flag| flag != 0).collect())
}
