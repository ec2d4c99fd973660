//! Cross-entropy of rows against targets without holding all logits at once.

use tch::{Kind, Tensor};

use crate::{Result, check};

/// Cross-entropy of each row in nats: `logits: [n, v]`, `targets: [n] i64` gives `[n] f32`.
///
/// # Errors
/// Targets out of range, shapes that do not fit, or libtorch.
pub fn cross_entropy_rows(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    const NAME: &str = "cross_entropy_rows";
    let (n, v) = check::matrix(NAME, "logits", logits)?;
    check::shape(NAME, "targets", targets, &[n])?;
    check::indices(NAME, "targets", targets, 0, v)?;
    if n == 0 {
        return Ok(Tensor::f_zeros([0], (Kind::Float, logits.device()))?);
    }
    let logits = logits.f_to_kind(Kind::Float)?;
    let total = logits.f_logsumexp(-1i64, false)?; // [n]
    let own = logits
        .f_gather(1, &targets.f_unsqueeze(1)?, false)?
        .f_squeeze_dim(1)?; // [n]
    Ok(total.f_sub(&own)?)
}

/// Cross-entropy of residual rows through a head, `chunk` rows at a time.
///
/// `rows: [n, d_model]`, `targets: [n] i64`, `head` maps `[m, d_model]` to logits `[m, v]`; gives `[n] f32`.
///
/// # Errors
/// Whatever `head` fails with, targets out of range, or libtorch.
pub fn cross_entropy_chunked<E: From<crate::KernelError>>(
    rows: &Tensor,
    targets: &Tensor,
    chunk: usize,
    mut head: impl FnMut(&Tensor) -> std::result::Result<Tensor, E>,
) -> std::result::Result<Tensor, E> {
    let torch = |e: tch::TchError| E::from(crate::KernelError::from(e));
    let (n, _) = check::matrix("cross_entropy_chunked", "rows", rows)?;
    check::shape("cross_entropy_chunked", "targets", targets, &[n])?;
    let chunk = chunk.max(1) as i64;
    let mut parts = vec![Tensor::f_zeros([0], (Kind::Float, rows.device())).map_err(torch)?];
    for start in (0..n).step_by(chunk as usize) {
        let len = chunk.min(n - start);
        let logits = head(&rows.f_narrow(0, start, len).map_err(torch)?)?; // [len, v]
        let part = targets.f_narrow(0, start, len).map_err(torch)?;
        parts.push(cross_entropy_rows(&logits, &part)?);
    }
    Tensor::f_cat(&parts, 0).map_err(torch)
}
