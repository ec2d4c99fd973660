//! Replacing residuals by their reconstruction.

use tch::{Kind, Tensor};

use super::error::EvalError;
use crate::plugin::Sae;

/// The rows of `resid: [b, t, d_model]` at the chosen positions, `[n, d_model]`, with their flat indices `[n] i64`.
///
/// # Errors
/// [`EvalError::Shape`] when `positions` is not `[b, t]`.
pub fn rows_where(resid: &Tensor, positions: &[bool]) -> Result<(Tensor, Tensor), EvalError> {
    let shape = resid.size();
    let [b, t, d_model] = shape[..] else {
        return Err(EvalError::Shape(format!(
            "a residual of shape {shape:?}, not [b, t, d_model]"
        )));
    };
    if positions.len() as i64 != b * t {
        return Err(EvalError::Shape(format!(
            "{} flags for {b} rows of {t} positions",
            positions.len()
        )));
    }
    let at: Vec<i64> = (0..b * t).filter(|i| positions[*i as usize]).collect();
    let index = Tensor::f_from_slice(&at)?.f_to_device(resid.device())?;
    let rows = resid
        .f_reshape([b * t, d_model])?
        .f_index_select(0, &index)?; // [n, d_model]
    Ok((rows, index))
}

/// Reconstructions by `sae` of the rows at the chosen positions: `(x, x_hat, index)`, each `[n, d_model] f32` and `[n] i64`.
///
/// # Errors
/// As [`rows_where`]; failures of the SAE.
pub fn reconstruct_where(
    resid: &Tensor,
    sae: &Sae,
    positions: &[bool],
) -> Result<(Tensor, Tensor, Tensor), EvalError> {
    let (rows, index) = rows_where(resid, positions)?;
    let x = rows.f_to_kind(Kind::Float)?;
    let x_hat = if x.size()[0] == 0 {
        x.shallow_clone()
    } else {
        sae.reconstruct(&x)?
    };
    Ok((x, x_hat, index))
}

/// A copy of `resid: [b, t, d_model]` with the rows at `index` replaced by `x_hat: [n, d_model]`.
///
/// # Errors
/// Shapes that do not fit.
pub fn splice(resid: &Tensor, x_hat: &Tensor, index: &Tensor) -> Result<Tensor, EvalError> {
    let shape = resid.size();
    let d_model = shape.last().copied().unwrap_or(0);
    let flat = resid.f_contiguous()?.f_reshape([-1, d_model])?; // [b·t, d_model]
    let replaced = flat.f_index_copy(0, index, &x_hat.f_to_kind(resid.kind())?)?;
    Ok(replaced.f_reshape(shape)?)
}
