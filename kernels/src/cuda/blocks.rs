//! The operations of a transformer's block: norm, rotation and gate.

use tch::{Kind, Tensor};

use super::{
    GATE, NORM, ROTATE,
    grid::{Arg, Grid, pack},
    launch::{launch, place},
    suffix,
};
use crate::Result;

/// The norm of the rows of `x: [.., d]` by `weight: [d]` of the same kind.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Option<Tensor>> {
    let d = weight.numel() as i64;
    let rows = x.numel() as i64 / d.max(1);
    let places = place(&[x, weight]);
    let (Some(place), Some(suffix), Some(grid)) = (places, suffix(x.kind()), Grid::new(rows, 1))
    else {
        return Ok(None);
    };
    if weight.kind() != x.kind() {
        return Ok(None);
    }
    let out = x.f_empty_like()?;
    let args = [
        Arg::of(x),
        Arg::of(weight),
        Arg::I64(d),
        Arg::F32(eps as f32),
        Arg::of(&out),
    ];
    // SAFETY: one block a row of the contiguous `x` and `out`, and `weight` has a row's numbers.
    unsafe { launch(place, &NORM, &format!("norm_{suffix}"), grid, &args)? };
    Ok(Some(out))
}

/// Turns `x: [r, t, h, head_dim]` in place by tables that were checked against it; false where
/// libtorch has to.
pub(crate) fn rotate_halves(x: &mut Tensor, cos: &Tensor, sin: &Tensor) -> Result<bool> {
    let name = match (x.kind(), cos.kind()) {
        _ if cos.kind() != sin.kind() => return Ok(false),
        (Kind::Float, Kind::Float) => "rotate_f32_f32",
        (Kind::BFloat16, Kind::BFloat16) => "rotate_bf16_bf16",
        (Kind::BFloat16, Kind::Float) => "rotate_bf16_f32",
        _ => return Ok(false),
    };
    let (heads, half) = (x.size()[2], x.size()[3] / 2);
    let pairs = x.numel() as i64 / 2;
    let (Some(place), Ok(_), Some(grid)) = (
        place(&[x, cos, sin]),
        // The kernel counts pairs in 32 bits.
        u32::try_from(pairs),
        Grid::flat((pairs as u64).div_ceil(pack(x) as u64) as i64),
    ) else {
        return Ok(false);
    };
    let args = [
        Arg::of(x),
        Arg::of(cos),
        Arg::of(sin),
        Arg::I64(pairs),
        Arg::I64(heads),
        Arg::I64(half),
        Arg::I64(cos.numel() as i64 / half.max(1)),
    ];
    // SAFETY: a thread for each pack of pairs of the contiguous `x`, which is borrowed exclusively;
    // both tables have a row for each position of `x`, or of one row of it, where they begin again.
    unsafe { launch(place, &ROTATE, name, grid, &args)? };
    Ok(true)
}

/// Gates in the place of `gate`, which has the shape of `up`; false where libtorch has to.
pub(crate) fn swiglu(gate: &mut Tensor, up: &Tensor) -> Result<bool> {
    let n = gate.numel() as i64;
    let (Some(place), Some(suffix), Some(grid)) = (
        place(&[gate, up]),
        suffix(gate.kind()),
        Grid::flat((n as u64).div_ceil(pack(gate) as u64) as i64),
    ) else {
        return Ok(false);
    };
    if up.kind() != gate.kind() {
        return Ok(false);
    }
    let args = [Arg::of(gate), Arg::of(up), Arg::I64(n)];
    // SAFETY: a thread for each pack of both, contiguous and of `n` numbers; `gate` is borrowed
    // exclusively.
    unsafe { launch(place, &GATE, &format!("gate_{suffix}"), grid, &args)? };
    Ok(true)
}
