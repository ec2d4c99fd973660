//! Losses, divergences and overlap of rows.

use tch::{Kind, Tensor};

use super::{
    JACCARD, SOFTMAX,
    grid::{Arg, Grid},
    launch::{launch, place},
    suffix,
};
use crate::Result;

/// Cross-entropy of spliced rows and `KL(clean || spliced)`, both `[n] f64`.
pub(crate) fn compare(
    spliced: &Tensor,
    clean: &Tensor,
    targets: &Tensor,
) -> Result<Option<(Tensor, Tensor)>> {
    let (spliced, targets) = (spliced.f_contiguous()?, targets.f_contiguous()?);
    let (n, v) = (clean.size()[0], clean.size()[1]);
    let places = place(&[&spliced, clean, &targets]);
    let (Some(place), Some(suffix), Some(grid)) = (places, suffix(clean.kind()), Grid::new(n, 1))
    else {
        return Ok(None);
    };
    if spliced.kind() != clean.kind() {
        return Ok(None);
    }
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
    // SAFETY: one block a row of both; targets were checked against `v`, and each half of `out` has
    // `n` numbers.
    unsafe { launch(place, &SOFTMAX, &format!("compare_{suffix}"), grid, &args)? };
    Ok(Some((ce, kl)))
}

/// Overlap of the rows of `a: [n, ka] i64` and `b: [n, kb] i64`: `[n] f64`.
pub(crate) fn jaccard(a: &Tensor, b: &Tensor) -> Result<Option<Tensor>> {
    let (a, b) = (a.f_contiguous()?, b.f_contiguous()?);
    let (n, ka, kb) = (a.size()[0], a.size()[1], b.size()[1]);
    let (Some(place), Some(grid)) = (place(&[&a, &b]), Grid::new(n, 1)) else {
        return Ok(None);
    };
    if a.kind() != Kind::Int64 || b.kind() != Kind::Int64 {
        return Ok(None);
    }
    let out = Tensor::f_empty([n], (Kind::Double, a.device()))?;
    let args = [
        Arg::of(&a),
        Arg::I64(ka),
        Arg::of(&b),
        Arg::I64(kb),
        Arg::of(&out),
    ];
    // SAFETY: one block a row of both lists, and `out` has `n` numbers.
    unsafe { launch(place, &JACCARD, "jaccard", grid, &args)? };
    Ok(Some(out))
}
