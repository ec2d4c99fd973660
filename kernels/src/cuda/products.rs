//! Selection, decoding, steering and moments.

use tch::{Kind, Tensor};

use super::{
    DECODE, MOMENTS, SELECT, STEER,
    grid::{Arg, Grid, blocks},
    launch::{launch, place},
    suffix,
};
use crate::{Active, Moments, Result};

/// Most slots that a block sorts in shared memory.
const MOST_SLOTS: i64 = 2048;
/// Rows that one thread sums.
const ROWS: i64 = 64;

/// The `w` largest positive numbers of each row of `values: [n, d]`.
pub(crate) fn select(values: &Tensor, w: i64) -> Result<Option<Active>> {
    let (n, d) = (values.size()[0], values.size()[1]);
    let (Some(place), Some(suffix), Some(grid)) =
        (place(&[values]), suffix(values.kind()), Grid::new(n, 1))
    else {
        return Ok(None);
    };
    if w > MOST_SLOTS || u32::try_from(d).is_err() {
        return Ok(None);
    }
    let device = values.device();
    let active = Active {
        acts: Tensor::f_empty([n, w], (Kind::Float, device))?,
        latents: Tensor::f_empty([n, w], (Kind::Int64, device))?,
        n_active: Tensor::f_empty([n], (Kind::Int64, device))?,
    };
    let args = [
        Arg::of(values),
        Arg::I64(d),
        Arg::I32(w as i32),
        Arg::of(&active.acts),
        Arg::of(&active.latents),
        Arg::of(&active.n_active),
    ];
    // SAFETY: one block a row of the contiguous `[n, d]`, and outputs of `n` rows were made above.
    unsafe { launch(place, &SELECT, &format!("select_{suffix}"), grid, &args)? };
    Ok(Some(active))
}

/// Sums of weighted rows of `table: [m, d]`; `acts: [n, w] f32`, `latents: [n, w] i64` below `m`.
pub(crate) fn decode(acts: &Tensor, latents: &Tensor, table: &Tensor) -> Result<Option<Tensor>> {
    let (acts, latents) = (
        acts.f_to_kind(Kind::Float)?.f_contiguous()?,
        latents.f_contiguous()?,
    );
    let (n, w, d) = (acts.size()[0], acts.size()[1], table.size()[1]);
    let places = place(&[&acts, &latents, table]);
    let (Some(place), Some(suffix), Some(grid)) =
        (places, suffix(table.kind()), Grid::new(n, blocks(d)))
    else {
        return Ok(None);
    };
    let out = Tensor::f_empty([n, d], (Kind::Float, acts.device()))?;
    let args = [
        Arg::of(&acts),
        Arg::of(&latents),
        Arg::I64(w),
        Arg::of(table),
        Arg::I64(d),
        Arg::of(&out),
    ];
    // SAFETY: blocks cover the `n` rows and `d` columns of `out`; the caller has put latents into
    // the table's range.
    unsafe { launch(place, &DECODE, &format!("decode_{suffix}"), grid, &args)? };
    Ok(Some(out))
}

/// Steers `resid: [b, t, d]` in place; false where libtorch has to.
pub(crate) fn steer(
    resid: &mut Tensor,
    coeff: &Tensor,
    scale: &Tensor,
    direction: &Tensor,
) -> Result<bool> {
    let f32s = |t: &Tensor| t.f_to_kind(Kind::Float)?.f_contiguous();
    let (coeff, scale, direction) = (f32s(coeff)?, f32s(scale)?, f32s(direction)?);
    let positions = coeff.numel() as i64;
    let places = place(&[resid, &coeff, &scale, &direction]);
    let (Some(place), Some(suffix), Some(grid)) =
        (places, suffix(resid.kind()), Grid::new(positions, 1))
    else {
        return Ok(false);
    };
    let (t, d) = (coeff.size()[1], direction.size()[1]);
    let args = [
        Arg::of(resid),
        Arg::of(&coeff),
        Arg::of(&scale),
        Arg::of(&direction),
        Arg::I64(t),
        Arg::I64(d),
    ];
    // SAFETY: one block a position of the contiguous `[b, t, d]`, which is borrowed exclusively;
    // the shapes were checked.
    unsafe { launch(place, &STEER, &format!("steer_{suffix}"), grid, &args)? };
    Ok(true)
}

/// Sums of `x - other`; `other` is `[n, d] f32`, or `[d] f64` for all rows; `keep: [n] bool`.
pub(crate) fn moments(x: &Tensor, other: &Tensor, keep: &Tensor) -> Result<Option<Moments>> {
    let (x, other) = (x.f_contiguous()?, other.f_contiguous()?);
    let keep = keep.f_to_kind(Kind::Bool)?.f_contiguous()?;
    let (n, d) = (x.size()[0], x.size()[1]);
    let parts = (n as u64).div_ceil(ROWS as u64) as i64;
    let (Some(place), Some(suffix)) = (place(&[&x, &other, &keep]), suffix(x.kind())) else {
        return Ok(None);
    };
    let (Some(rows), Some(strips)) = (Grid::new(n, 1), Grid::new(parts, blocks(d))) else {
        return Ok(None);
    };
    let (stride, suffix) = match (other.kind(), other.dim()) {
        (Kind::Float, 2) => (d, format!("{suffix}_f32")),
        (Kind::Double, 1) => (0, format!("{suffix}_f64")),
        _ => return Ok(None),
    };
    let device = x.device();
    let zeros = |shape: &[i64]| Tensor::f_zeros(shape, (Kind::Double, device));
    let (squares, all, kept) = (zeros(&[n])?, zeros(&[parts, d])?, zeros(&[parts, d])?);
    let args = [
        Arg::of(&x),
        Arg::of(&other),
        Arg::I64(stride),
        Arg::I64(d),
        Arg::of(&squares),
    ];
    // SAFETY: one block a row of `x`; `other` has rows at this stride, and `squares` has `n`
    // numbers.
    unsafe { launch(place, &MOMENTS, &format!("squares_{suffix}"), rows, &args)? };
    let args = [
        Arg::of(&x),
        Arg::of(&other),
        Arg::I64(stride),
        Arg::I64(n),
        Arg::I64(d),
        Arg::I64(ROWS),
        Arg::of(&keep),
        Arg::of(&all),
        Arg::of(&kept),
    ];
    // SAFETY: blocks cover `parts` times the columns, which is what the partial sums hold; `keep`
    // has `n` bytes.
    unsafe { launch(place, &MOMENTS, &format!("columns_{suffix}"), strips, &args)? };
    let columns = |t: &Tensor| t.f_sum_dim_intlist(0i64, false, Kind::Double);
    Ok(Some(Moments {
        squares,
        all: columns(&all)?,
        kept: columns(&kept)?,
    }))
}
