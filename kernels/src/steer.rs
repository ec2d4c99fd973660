//! Steering: `resid[b, t] += coeff[b, t] · scale[b, t] · direction[b]` (Eq. 13).

use half::bf16;
use tch::{Kind, Tensor};

use crate::{
    KernelError, Result, check,
    host::{self, Stored},
    pool,
    simd::{Level, levels},
};

/// Rows of a task.
const BLOCK: usize = 64;

/// Adds a direction per row, scaled per position, to a residual stream in place.
///
/// `resid: [b, t, d]`, `coeff: [b, t] f32`, `scale: [b, t] f32` (the `m_x` of Eq. 4), `direction:
/// [b, d]`. Positions with a coefficient of 0 keep their bits, whatever their scale is. Products
/// and the sum are rounded to f32 one by one, the result once more where the stream is bf16. On a
/// CPU only the positions that are steered are read and written.
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
    if host::is_host(resid) && resid.is_contiguous() {
        let rows = Rows::new(coeff, scale, direction, t)?;
        match resid.kind() {
            Kind::Float => return rows.add_to(host::slice_mut::<f32>(resid)?),
            Kind::BFloat16 => return rows.add_to(host::slice_mut::<bf16>(resid)?),
            _ => {}
        }
    }
    #[cfg(feature = "cuda")]
    if crate::cuda::steer(resid, coeff, scale, direction)? {
        return Ok(());
    }
    let off = coeff.f_eq(0)?; // [b, t]
    let on = off.f_logical_not()?;
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

/// What is added, in host memory.
struct Rows {
    /// `coeff · scale` of each position: `[b · t]`; `None` where the coefficient is 0.
    amounts: Vec<Option<f32>>,
    /// `[b, d] f32`.
    direction: Tensor,
    t: usize,
}

impl Rows {
    fn new(coeff: &Tensor, scale: &Tensor, direction: &Tensor, t: i64) -> Result<Self> {
        let amount = coeff.f_mul(scale)?.f_to_kind(Kind::Float)?.f_contiguous()?;
        let off = coeff.f_eq(0)?.f_to_kind(Kind::Int64)?.f_contiguous()?;
        let amounts = host::slice::<f32>(&amount)?
            .iter()
            .zip(host::slice::<i64>(&off)?);
        Ok(Self {
            amounts: amounts
                .map(|(&amount, &off)| (off == 0).then_some(amount))
                .collect(),
            direction: direction.f_to_kind(Kind::Float)?.f_contiguous()?,
            t: t as usize,
        })
    }

    fn add_to<T: Stored>(&self, resid: &mut [T]) -> Result<()> {
        let level = Level::current();
        let direction: &[f32] = host::slice(&self.direction)?;
        let positions = self.amounts.len();
        if positions == 0 || resid.is_empty() {
            return Ok(());
        }
        let d = resid.len() / positions;
        let work = self.amounts.iter().flatten().count() * d;
        let (amounts, t) = (&self.amounts, self.t);
        let tasks: Vec<_> = resid.chunks_mut(BLOCK * d).enumerate().collect();
        pool::run(tasks, work, |(block, rows)| {
            for (i, row) in rows.chunks_exact_mut(d).enumerate() {
                let position = block * BLOCK + i;
                if let Some(amount) = amounts[position] {
                    let b = position / t;
                    add_row(level, row, amount, &direction[b * d..(b + 1) * d]);
                }
            }
        });
        Ok(())
    }
}

levels! {
    fn add_row<T: Stored>(row: &mut [T], amount: f32, direction: &[f32]) = add_row_body;
}

#[inline(always)]
fn add_row_body<T: Stored>(row: &mut [T], amount: f32, direction: &[f32]) {
    for (v, d) in row.iter_mut().zip(direction) {
        *v = T::round(v.f32() + amount * d);
    }
}
