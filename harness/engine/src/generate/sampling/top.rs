//! Sampling from the largest tokens, with whole tensors on any device and without sorting the
//! vocabulary.
//!
//! Where `top_k` is set, the tokens that are kept are among the k largest. What else the rules need
//! of the others is the normaliser of the distribution: one sweep. So a row costs a softmax, a
//! selection and some work on its few largest.

use tch::{Kind, Tensor};

use super::{Sampling, SamplingRule};
use crate::generate::GenerateError;

/// Tokens selected beyond `top_k`, for others equal to the k-th: they are kept too.
const SLACK: usize = 14;
/// Above so many the selection is no cheaper than a sort.
const MOST: usize = 1024;

/// What is kept of the rows' distributions.
pub(super) struct Chosen {
    /// The tokens drawn; `None` without draws. `[n, 1] i64`
    pub(super) token: Option<Tensor>,
    /// Probabilities of the tokens kept, as a distribution, in any order; 0 for others. `[n, w]
    /// f64`
    pub(super) q: Tensor,
    /// Probability of the tokens kept. `[n, 1] f64`
    pub(super) mass: Tensor,
    /// Nonzero where what is kept was not settled. `[n]`
    pub(super) is_open: Tensor,
}

/// The largest tokens of each row, in both orders that are needed. `[n, w]` each
struct Largest {
    /// Probabilities, largest first, the lower id first of equals; float64.
    p: Tensor,
    /// Their places in the order of ids.
    place: Tensor,
    /// Ids, lowest first.
    id: Tensor,
    /// 1 where more tokens equal the k-th largest than were selected. `[n]`
    is_open: Tensor,
}

/// Whether the tokens that this sampling keeps are few enough to be selected.
pub(super) fn applies(sampling: &Sampling, v: usize) -> bool {
    // LLaDA's rule reads statistics of the whole distribution where it filters; it is rare and left
    // to the general form.
    let is_apart = sampling.rule == SamplingRule::Noise;
    !is_apart
        && sampling
            .k()
            .is_some_and(|k| k + SLACK < v && k + SLACK <= MOST)
}

/// What is kept of each row, and which token is drawn from it. The draw is [`super::choose`]'s.
///
/// - `p: [n, v] f32`, the probabilities after the temperature
/// - `draws: [n, 1] f64`; `None` leaves the token open
pub(super) fn choose(
    p: &Tensor,
    sampling: &Sampling,
    k: usize,
    draws: Option<&Tensor>,
) -> Result<Chosen, GenerateError> {
    let largest = Largest::of(p, k)?;
    let w = largest.p.size()[1];
    let kth = largest.p.f_narrow(1, k as i64 - 1, 1)?; // [n, 1]
    let mut kept = largest.p.f_ge_tensor(&kth)?; // [n, w] bool
    if let Some(top_p) = sampling.nucleus() {
        let before = largest.p.f_cumsum(-1, Kind::Double)?.f_sub(&largest.p)?; // [n, w]
        let limit = match sampling.rule {
            // The nucleus is one of the tokens that are left, scaled to a distribution.
            SamplingRule::TopKFirst => mass(&largest.p, &kept)?.f_mul_scalar(top_p)?,
            _ => kth.f_full_like(top_p)?,
        }; // [n, 1]
        let in_nucleus = before.f_le_tensor(&limit)?;
        // The subtraction above may leave a rounding error where the first token's 0 should be.
        let _ = in_nucleus.f_narrow(-1, 0, 1)?.f_fill_(1)?;
        kept = kept.f_logical_and(&in_nucleus)?;
    }
    let weight = largest.p.f_mul(&kept.f_to_kind(Kind::Double)?)?; // [n, w], 0 where not kept
    let mass = weight.f_sum_dim_intlist(-1, true, Kind::Double)?; // [n, 1]
    let token = match draws {
        Some(draws) => {
            // In the order of ids, which is that of the draw.
            let by_id = weight
                .f_zeros_like()?
                .f_scatter(1, &largest.place, &weight)?;
            let cumulative = by_id.f_cumsum(-1, Kind::Double)?; // [n, w]
            let target = draws.f_mul(&cumulative.f_narrow(1, w - 1, 1)?)?;
            let found =
                cumulative
                    .f_le_tensor(&target)?
                    .f_sum_dim_intlist(-1, true, Kind::Int64)?; // [n, 1]
            let last = by_id
                .f_gt(0.0)?
                .f_to_kind(Kind::Int64)?
                .f_cumsum(-1, Kind::Int64)?
                .f_argmax(-1, true)?;
            Some(largest.id.f_gather(1, &found.f_minimum(&last)?, false)?)
        }
        None => None,
    };
    Ok(Chosen {
        token,
        q: weight.f_div(&mass)?,
        mass,
        is_open: largest.is_open,
    })
}

/// Probability of the tokens kept. `[n, 1]`
fn mass(p: &Tensor, kept: &Tensor) -> Result<Tensor, GenerateError> {
    Ok(p.f_mul(&kept.f_to_kind(Kind::Double)?)?
        .f_sum_dim_intlist(-1, true, Kind::Double)?)
}

impl Largest {
    fn of(p: &Tensor, k: usize) -> Result<Self, GenerateError> {
        let w = (k + SLACK) as i64;
        let (p, id) = p.f_topk(w, -1, true, true)?; // [n, w]
        // Equals come in any order: by id first, then a stable sort by size.
        let (id, order) = id.f_sort(-1, false)?;
        let (p, place) = p
            .f_gather(1, &order, false)?
            .f_sort_stable(true, -1, true)?;
        let p = p.f_to_kind(Kind::Double)?;
        let is_open = p
            .f_narrow(1, w - 1, 1)?
            .f_eq_tensor(&p.f_narrow(1, k as i64 - 1, 1)?)?
            .f_logical_and(&p.f_narrow(1, w - 1, 1)?.f_gt(0.0)?)?
            .f_squeeze_dim(1)?;
        Ok(Self {
            p,
            place,
            id,
            is_open,
        })
    }
}
