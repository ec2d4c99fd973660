//! Sampling with whole tensors, on any device.

use tch::{Kind, Tensor};

use super::{Choices, Needed, Sampling, SamplingRule};
use crate::generate::GenerateError;

/// What a removed token's logit becomes.
const REMOVED: f64 = f32::MIN as f64;

/// Logits with the tokens outside `top_p` and `top_k` set to the most negative float32.
///
/// A token stays in the nucleus while the tokens before it (in descending order, the lower id first of equals) have a
/// probability of at most `top_p` together; one always stays. Tokens equal to the k-th largest stay with it.
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
    let before = p.f_cumsum(-1, Kind::Double)?.f_sub(&p)?; // probability of the tokens before, [n, v]
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

/// [`super::choose`] with whole tensors.
///
/// # Errors
/// As [`super::choose`].
pub fn choose_by_tensors(
    logits: &Tensor,
    sampling: &Sampling,
    needed: Needed,
    draws: &[f64],
) -> Result<Choices, GenerateError> {
    let heated = match sampling.temperature > 0.0 {
        true => logits.f_div_scalar(sampling.temperature)?,
        false => logits.shallow_clone(),
    };
    let p = filter_logits(&heated, sampling)?.f_softmax(-1, Kind::Float)?; // [n, v]
    let token = match sampling.temperature > 0.0 {
        true => {
            let cumulative = p.f_cumsum(-1, Kind::Double)?; // [n, v]
            let total = cumulative.f_narrow(-1, p.size()[1] - 1, 1)?; // [n, 1]
            let target = Tensor::f_from_slice(draws)?
                .f_to_device(p.device())?
                .f_unsqueeze(1)?
                .f_mul(&total)?;
            // The first token whose cumulative probability is above the target.
            let found =
                cumulative
                    .f_le_tensor(&target)?
                    .f_sum_dim_intlist(-1, true, Kind::Int64)?; // [n, 1]
            let last = p
                .f_gt(0.0)?
                .f_to_kind(Kind::Int64)?
                .f_cumsum(-1, Kind::Int64)?
                .f_argmax(-1, true)?;
            found.f_minimum(&last)?
        }
        false => logits.f_argmax(-1, true)?,
    }; // [n, 1]
    let p = match sampling.apart() {
        true => logits.f_softmax(-1, Kind::Float)?,
        false => p,
    };
    let n = p.size()[0];
    let zeros = || Tensor::f_zeros([n], (Kind::Float, p.device()));
    let confidence = match needed.confidence {
        true => p.f_gather(1, &token, false)?.f_squeeze_dim(1)?,
        false => zeros()?,
    };
    let margin = match needed.margin {
        true => {
            let (top, _) = p.f_topk(2.min(p.size()[1]), -1, true, true)?; // [n, 2]
            let second = if top.size()[1] > 1 {
                top.f_select(1, 1)?
            } else {
                zeros()?
            };
            top.f_select(1, 0)?.f_sub(&second)?
        }
        false => zeros()?,
    };
    let neg_entropy = match needed.neg_entropy {
        true => p
            .f_mul(&p.f_add_scalar(1e-10)?.f_log()?)?
            .f_sum_dim_intlist(-1, false, Kind::Double)?,
        false => zeros()?,
    };
    let broken = p.f_isfinite()?.f_all_dim(-1, false)?.f_logical_not()?; // [n]
    let floats = |tensor: &Tensor| -> Result<Vec<f32>, GenerateError> {
        Ok(Vec::<f32>::try_from(
            &tensor
                .f_to_kind(Kind::Float)?
                .f_to_device(tch::Device::Cpu)?,
        )?)
    };
    let broken = crate::generate::grid::int_vec(&broken)?
        .iter()
        .position(|flag| *flag != 0);
    Ok(Choices {
        token: crate::generate::grid::int_vec(&token)?,
        confidence: floats(&confidence)?,
        margin: floats(&margin)?,
        neg_entropy: floats(&neg_entropy)?,
        broken,
    })
}
