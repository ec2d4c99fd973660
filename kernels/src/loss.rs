//! Cross-entropy of rows against targets without holding all logits at once.

use tch::{Kind, Tensor};

use crate::{
    KernelError, Result, check,
    host::{self, Element, numbers},
    softmax,
};

/// Cross-entropy of each row in nats: `logits: [n, v]`, `targets: [n] i64` gives `[n] f32`.
///
/// On a CPU exponentials are f32 and sums f64, and bf16 logits are read as they are. NaN in a row gives NaN; a
/// target of logit minus infinity gives infinity.
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
    if host::is_host(logits) {
        let (logits, targets) = (host::plain(logits)?, targets.f_contiguous()?);
        let v = v as usize;
        let ce = numbers!(logits, l => on_host(l, host::slice(&targets)?, v));
        return Ok(Tensor::f_from_slice(&ce)?);
    }
    #[cfg(feature = "cuda")]
    if let Some(ce) = crate::cuda::loss(logits, targets)? {
        return Ok(ce);
    }
    through_libtorch(logits, targets)
}

/// Cross-entropies through libtorch, where the tensors are.
pub(crate) fn through_libtorch(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let logits = logits.f_to_kind(Kind::Float)?;
    let total = logits.f_logsumexp(-1i64, false)?; // [n]
    let own = logits
        .f_gather(1, &targets.f_unsqueeze(1)?, false)?
        .f_squeeze_dim(1)?; // [n]
    Ok(total.f_sub(&own)?)
}

/// Cross-entropies of rows in host memory.
fn on_host<T: Element>(logits: &[T], targets: &[i64], v: usize) -> Vec<f32> {
    let rows = softmax::normalisers(logits, v);
    let own = logits.chunks_exact(v).zip(targets);
    rows.iter()
        .zip(own)
        .map(|(row, (logits, &t))| (row.log_sum_exp() - f64::from(logits[t as usize].f32())) as f32)
        .collect()
}

/// Cross-entropy of hidden rows through a head, with at most `max_bytes` of logits alive at a time.
///
/// `hidden: [n, d]`, `head: [v, d]`, `targets: [n] i64` gives `[n] f32`. The product is in the head's kind: with a bf16
/// head its sums are f32 and its results, the logits, are rounded to bf16 by libtorch; from there on everything is
/// f32 and f64. An f32 head gives f32 logits at some five times the time.
///
/// # Errors
/// Shapes that do not fit, targets out of range, `max_bytes` below one row of logits, or libtorch.
pub fn cross_entropy_head(
    hidden: &Tensor,
    head: &Tensor,
    targets: &Tensor,
    max_bytes: usize,
) -> Result<Tensor> {
    const NAME: &str = "cross_entropy_head";
    let (v, d) = check::matrix(NAME, "head", head)?;
    let (n, _) = check::matrix(NAME, "hidden", hidden)?;
    check::shape(NAME, "hidden", hidden, &[n, d])?;
    // A row of logits, and its f32 copy where the rows are not read in place.
    let size = if head.kind() == Kind::BFloat16 { 2 } else { 4 };
    let row = v as usize * if host::is_host(head) { size } else { size + 4 };
    if row > max_bytes {
        return Err(KernelError::Range {
            kernel: NAME,
            operand: "max_bytes",
            found: max_bytes as i64,
            expected: format!("{row} or more, one row of logits"),
        });
    }
    let head = head.f_tr()?; // [d, v]
    let kind = head.kind();
    cross_entropy_chunked(hidden, targets, max_bytes / row.max(1), |rows| {
        Ok(rows.f_to_kind(kind)?.f_matmul(&head)?)
    })
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
