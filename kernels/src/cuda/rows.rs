//! Losses, divergences and overlap of rows.

use tch::{Kind, Tensor};

use super::{
    JACCARD, SOFTMAX,
    launch::{Arg, device, launch},
};
use crate::Result;

/// Name of a kernel for logits of a kind.
fn name(operation: &str, kind: Kind) -> Option<String> {
    match kind {
        Kind::Float => Some(format!("{operation}_f32")),
        Kind::BFloat16 => Some(format!("{operation}_bf16")),
        _ => None,
    }
}

/// Cross-entropy of spliced rows and `KL(clean || spliced)`, both `[n] f64`.
pub(crate) fn compare(
    spliced: &Tensor,
    clean: &Tensor,
    targets: &Tensor,
) -> Result<Option<(Tensor, Tensor)>> {
    let (spliced, targets) = (spliced.f_contiguous()?, targets.f_contiguous()?);
    let places = device(&[&spliced, clean, &targets]);
    let (Some(index), Some(name)) = (places, name("compare", clean.kind())) else {
        return Ok(None);
    };
    if spliced.kind() != clean.kind() {
        return Ok(None);
    }
    let (n, v) = (clean.size()[0], clean.size()[1]);
    let out = Tensor::f_empty([2, n], (Kind::Double, clean.device()))?;
    let (ce, kl) = (out.f_select(0, 0)?, out.f_select(0, 1)?);
    let args = [
        Arg::of(&spliced),
        Arg::of(clean),
        Arg::I64(v),
        Arg::of(&targets),
        Arg::of(&ce),
        Arg::of(&kl),
    ];
    // SAFETY: one block a row of both; targets were checked against `v`, and each half of `out` has `n` numbers.
    unsafe { launch(index, &SOFTMAX, &name, (n, 1), &args)? };
    Ok(Some((ce, kl)))
}

/// Overlap of the rows of `a: [n, ka] i64` and `b: [n, kb] i64`: `[n] f64`.
pub(crate) fn jaccard(a: &Tensor, b: &Tensor) -> Result<Option<Tensor>> {
    let (a, b) = (a.f_contiguous()?, b.f_contiguous()?);
    let Some(index) = device(&[&a, &b]) else {
        return Ok(None);
    };
    if a.kind() != Kind::Int64 || b.kind() != Kind::Int64 {
        return Ok(None);
    }
    let (n, ka, kb) = (a.size()[0], a.size()[1], b.size()[1]);
    let out = Tensor::f_empty([n], (Kind::Double, a.device()))?;
    let args = [
        Arg::of(&a),
        Arg::I64(ka),
        Arg::of(&b),
        Arg::I64(kb),
        Arg::of(&out),
    ];
    // SAFETY: one block a row of both lists, and `out` has `n` numbers.
    unsafe { launch(index, &JACCARD, "jaccard", (n, 1), &args)? };
    Ok(Some(out))
}
