//! Sampling with whole tensors, on any device.

use tch::{Kind, Tensor};

use super::{
    Needed, Sampling, SamplingRule,
    top::{self, Chosen},
};
use crate::generate::GenerateError;

/// What a removed token's logit becomes.
const REMOVED: f64 = f32::MIN as f64;

/// Logits with the tokens outside `top_p` and `top_k` set to the most negative float32.
///
/// A token stays in the nucleus while the tokens before it (in descending order, the lower id first
/// of equals) have a probability of at most `top_p` together; one always stays. Tokens equal to the
/// k-th largest stay with it.
///
/// - `logits: [n, v] f32`, after the temperature; the temperature of `sampling` is not applied
///
/// # Errors
/// libtorch's.
pub fn filter_logits(logits: &Tensor, sampling: &Sampling) -> Result<Tensor, GenerateError> {
    let nucleus = |logits: Tensor| match sampling.nucleus() {
        Some(top_p) => in_nucleus(&logits, top_p),
        None => Ok(logits),
    };
    let largest = |logits: Tensor| match sampling.k() {
        Some(top_k) => largest(&logits, top_k),
        None => Ok(logits),
    };
    let logits = logits.f_to_kind(Kind::Float)?;
    match sampling.rule {
        SamplingRule::TopKFirst => nucleus(largest(logits)?),
        SamplingRule::NucleusFirst | SamplingRule::Noise => largest(nucleus(logits)?),
    }
}

fn in_nucleus(logits: &Tensor, top_p: f64) -> Result<Tensor, GenerateError> {
    let (sorted, ids) = logits.f_sort_stable(true, -1, true)?; // [n, v]
    let p = sorted.f_softmax(-1, Kind::Float)?.f_to_kind(Kind::Double)?;
    // Probability of the tokens before, [n, v].
    let before = p.f_cumsum(-1, Kind::Double)?.f_sub(&p)?;
    let removed = before.f_gt(top_p)?;
    // The subtraction above may leave a rounding error where the first token's 0 should be.
    let _ = removed.f_narrow(-1, 0, 1)?.f_fill_(0)?;
    let removed = removed.f_zeros_like()?.f_scatter(-1, &ids, &removed)?;
    Ok(logits.f_masked_fill(&removed, REMOVED)?)
}

fn largest(logits: &Tensor, top_k: usize) -> Result<Tensor, GenerateError> {
    let vocabulary = logits.size().last().copied().unwrap_or(0);
    let k = i64::try_from(top_k).unwrap_or(i64::MAX).min(vocabulary);
    let (top, _) = logits.f_topk(k, -1, true, true)?; // [n, k]
    let removed = logits.f_lt_tensor(&top.f_narrow(-1, k - 1, 1)?)?;
    Ok(logits.f_masked_fill(&removed, REMOVED)?)
}

/// LLaDA's noisy logits, `exp(logits) / (-ln uniform)^temperature`, in float64.
///
/// - `logits`, `uniform`: `[n, v]`, uniform in (0, 1)
///
/// # Errors
/// libtorch's.
pub fn noisy_logits(
    logits: &Tensor,
    uniform: &Tensor,
    temperature: f64,
) -> Result<Tensor, GenerateError> {
    let noise = uniform
        .f_to_kind(Kind::Double)?
        .f_log()?
        .f_neg()?
        .f_pow_tensor_scalar(temperature)?;
    Ok(logits.f_to_kind(Kind::Double)?.f_exp()?.f_div(&noise)?)
}

/// What has been chosen in rows, on their device. `Choices::read` brings it to the host.
///
/// `[n, 6] f64`: token, confidence, margin, neg_entropy, is_finite, is_open.
#[derive(Debug)]
pub struct Packed(pub(super) Tensor);

/// Columns of [`Packed`].
pub(super) const COLUMNS: i64 = 6;

/// [`super::choose`] with whole tensors, by a selection where `top_k` is set and otherwise by a
/// sort; nothing is read.
///
/// # Errors
/// As [`super::choose`].
pub fn choose_by_tensors(
    logits: &Tensor,
    sampling: &Sampling,
    needed: Needed,
    draws: &[f64],
) -> Result<Packed, GenerateError> {
    let v = logits.size()[1] as usize;
    match sampling.k() {
        Some(k) if top::applies(sampling, v) => {
            let p = heated(logits, sampling)?.f_softmax(-1, Kind::Float)?; // [n, v]
            let draws = drawn_at(sampling, draws, &p)?;
            let chosen = top::choose(&p, sampling, k, draws.as_ref())?;
            pack(logits, &chosen, needed, |token| {
                Ok(p.f_gather(1, token, false)?
                    .f_to_kind(Kind::Double)?
                    .f_div(&chosen.mass)?)
            })
        }
        _ => choose_by_sort(logits, sampling, needed, draws),
    }
}

/// [`choose_by_tensors`] for any filter. Only a nucleus sorts the vocabulary.
///
/// # Errors
/// As [`super::choose`].
pub fn choose_by_sort(
    logits: &Tensor,
    sampling: &Sampling,
    needed: Needed,
    draws: &[f64],
) -> Result<Packed, GenerateError> {
    let n = logits.size()[0];
    let kept = filter_logits(&heated(logits, sampling)?, sampling)?;
    let p = kept.f_softmax(-1, Kind::Float)?; // [n, v]
    let token = match drawn_at(sampling, draws, &p)? {
        Some(draws) => {
            let cumulative = p.f_cumsum(-1, Kind::Double)?; // [n, v]
            let total = cumulative.f_narrow(-1, p.size()[1] - 1, 1)?; // [n, 1]
            // The first token whose cumulative probability is above the target.
            let found = cumulative
                .f_le_tensor(&draws.f_mul(&total)?)?
                .f_sum_dim_intlist(-1, true, Kind::Int64)?; // [n, 1]
            let last = p
                .f_gt(0.0)?
                .f_to_kind(Kind::Int64)?
                .f_cumsum(-1, Kind::Int64)?
                .f_argmax(-1, true)?;
            Some(found.f_minimum(&last)?)
        }
        None => None,
    };
    let q = match sampling.apart() {
        true => logits.f_softmax(-1, Kind::Float)?,
        false => p,
    };
    let options = (Kind::Double, q.device());
    let chosen = Chosen {
        token,
        mass: q.f_sum_dim_intlist(-1, true, Kind::Double)?,
        is_open: Tensor::f_zeros([n], options)?,
        q,
    };
    pack(logits, &chosen, needed, |token| {
        Ok(chosen.q.f_gather(1, token, false)?)
    })
}

fn heated(logits: &Tensor, sampling: &Sampling) -> Result<Tensor, GenerateError> {
    Ok(match sampling.temperature > 0.0 {
        true => logits.f_div_scalar(sampling.temperature)?,
        false => logits.shallow_clone(),
    })
}

/// The draws beside `p`, where tokens are drawn. `[n, 1] f64`
fn drawn_at(
    sampling: &Sampling,
    draws: &[f64],
    p: &Tensor,
) -> Result<Option<Tensor>, GenerateError> {
    if sampling.temperature == 0.0 {
        return Ok(None);
    }
    let draws = Tensor::f_from_slice(draws)?.f_to_device(p.device())?;
    Ok(Some(draws.f_unsqueeze(1)?))
}

/// Puts tokens and statistics side by side; those that are not needed are 0. `confidence` is the
/// probability of tokens `[n, 1]`.
fn pack(
    logits: &Tensor,
    chosen: &Chosen,
    needed: Needed,
    confidence: impl Fn(&Tensor) -> Result<Tensor, GenerateError>,
) -> Result<Packed, GenerateError> {
    let (n, q) = (logits.size()[0], &chosen.q);
    let zeros = Tensor::f_zeros([n, 1], (Kind::Double, q.device()))?;
    let token = match &chosen.token {
        Some(token) => token.shallow_clone(),
        None => logits.f_argmax(-1, true)?,
    }; // [n, 1]
    let confidence = match needed.confidence {
        true => confidence(&token)?,
        false => zeros.shallow_clone(),
    };
    let margin = match needed.margin {
        true if q.size()[1] > 1 => {
            let (top, _) = q.f_topk(2, -1, true, true)?; // [n, 2]
            top.f_select(1, 0)?
                .f_sub(&top.f_select(1, 1)?)?
                .f_unsqueeze(1)?
        }
        true => q.shallow_clone(),
        false => zeros.shallow_clone(),
    };
    let neg_entropy = match needed.neg_entropy {
        true => {
            let ln = q.f_to_kind(Kind::Float)?.f_add_scalar(1e-10)?.f_log()?;
            q.f_mul(&ln)?.f_sum_dim_intlist(-1, true, Kind::Double)?
        }
        false => zeros,
    };
    // One NaN or plus infinity in a row makes all its probabilities NaN; minus infinity is a token
    // that is not there.
    let is_finite = chosen.mass.f_isfinite()?;
    let columns = [
        token,
        confidence,
        margin,
        neg_entropy,
        is_finite,
        chosen.is_open.f_unsqueeze(1)?,
    ];
    let columns = columns
        .iter()
        .map(|column| column.f_to_kind(Kind::Double))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Packed(Tensor::f_cat(&columns, 1)?))
}
