//! Steering: `resid[b, t] += coeff[b, t] · scale[b, t] · direction[b]` (Eq. 13).

use tch::{Kind, Tensor};

use crate::{KernelError, Result, check};

/// Adds a direction per row, scaled per position, to a residual stream in place.
///
/// `resid: [b, t, d]`, `coeff: [b, t] f32`, `scale: [b, t] f32` (the `m_x` of Eq. 4), `direction: [b, d]`.
/// Positions with a coefficient of 0 keep their bits, whatever their scale is.
///
/// # Errors
/// Shapes that do not fit, or libtorch.
pub fn steer_add(
    resid: &mut Tensor,
    coeff: &Tensor,
    scale: &Tensor,
    direction: &Tensor,
) -> Result<()> {
    const NAME: &str = "steer_add";
    let [b, t, d] = resid.size()[..] else {
        return Err(KernelError::Shape {
            kernel: NAME,
            operand: "resid",
            found: resid.size(),
            expected: "[b, t, d]".into(),
        });
    };
    check::shape(NAME, "coeff", coeff, &[b, t])?;
    check::shape(NAME, "scale", scale, &[b, t])?;
    check::shape(NAME, "direction", direction, &[b, d])?;
    let off = coeff.f_eq(0)?; // [b, t]
    let on = off.f_logical_not()?;
    if !on.f_any()?.f_int64_value(&[]).map(|v| v != 0)? {
        return Ok(());
    }
    let amount = coeff
        .f_mul(scale)?
        .f_masked_fill(&off, 0)?
        .f_to_kind(Kind::Float)?; // [b, t]
    let delta = amount
        .f_unsqueeze(2)?
        .f_mul(&direction.f_to_kind(Kind::Float)?.f_unsqueeze(1)?)?; // [b, t, d]
    let moved = resid
        .f_to_kind(Kind::Float)?
        .f_add(&delta)?
        .f_to_kind(resid.kind())?;
    // Adding 0 would turn -0 into +0, so positions that are not steered are not written.
    resid.f_copy_(&moved.f_where_self(&on.f_unsqueeze(2)?, resid)?)?;
    Ok(())
}
