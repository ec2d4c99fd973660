//! What a decoding order needs to know of a row of logits.

use tch::{Kind, Tensor};

use crate::{KernelError, Result, check};

/// Statistics of the distributions of `n` rows.
#[derive(Debug)]
pub struct TokenStats {
    /// Most probable token, the lowest of equals: `[n] i64`.
    pub argmax: Tensor,
    /// Its probability: `[n] f32`.
    pub p1: Tensor,
    /// The second largest probability: `[n] f32`.
    pub p2: Tensor,
    /// Entropy in nats: `[n] f32`.
    pub entropy: Tensor,
}

/// Statistics of `softmax(logits)`; `logits: [n, v]` with `v >= 2`.
///
/// # Errors
/// Fewer than two tokens, no matrix, or libtorch.
pub fn token_stats(logits: &Tensor) -> Result<TokenStats> {
    const NAME: &str = "token_stats";
    let (n, v) = check::matrix(NAME, "logits", logits)?;
    if v < 2 {
        return Err(KernelError::Shape {
            kernel: NAME,
            operand: "logits",
            found: vec![n, v],
            expected: "[n, v] with at least two tokens".into(),
        });
    }
    if n == 0 {
        let none = |kind| Tensor::f_zeros([0], (kind, logits.device()));
        return Ok(TokenStats {
            argmax: none(Kind::Int64)?,
            p1: none(Kind::Float)?,
            p2: none(Kind::Float)?,
            entropy: none(Kind::Float)?,
        });
    }
    let log_p = logits.f_log_softmax(-1, Kind::Float)?; // [n, v]
    let p = log_p.f_exp()?;
    let (top, _) = p.f_topk(2, -1, true, true)?; // [n, 2]
    // A removed token has log p = -inf and adds nothing: xlogy(0, ·) style, not 0 · inf.
    let terms = p
        .f_mul(&log_p)?
        .f_masked_fill(&log_p.f_eq(f64::NEG_INFINITY)?, 0)?;
    Ok(TokenStats {
        argmax: logits.f_argmax(-1, false)?,
        p1: top.f_select(1, 0)?.f_contiguous()?,
        p2: top.f_select(1, 1)?.f_contiguous()?,
        entropy: terms
            .f_sum_dim_intlist(-1i64, false, Kind::Float)?
            .f_neg()?,
    })
}
