//! Top-K encoding: `z = TopK_k(ReLU(W_enc (x - b_dec) + b_enc))` (Eq. 1).

use tch::{Kind, Tensor};

use crate::{
    Active, KernelError, Result, check,
    host::{self, numbers},
    select::{self, Output},
};

/// Most elements of the dense pre-activation held at a time: on a CPU few enough to be read back
/// from the last-level cache, elsewhere 256 MiB of f32.
const HOST_ELEMENTS: i64 = 1 << 23;
const DEVICE_ELEMENTS: i64 = 1 << 26;

/// The encoder half of a Top-K autoencoder.
#[derive(Clone, Copy, Debug)]
pub struct Encoder<'a> {
    /// `[d_model, d_sae]`; a transposed view is fine.
    pub w_enc: &'a Tensor,
    /// `[d_sae]`.
    pub b_enc: &'a Tensor,
    /// `[d_model]`, subtracted from the input; `None` where the input is taken as it is.
    pub b_dec: Option<&'a Tensor>,
    /// `[d_sae]`, factor of each pre-activation; `None` for 1.
    pub scale: Option<&'a Tensor>,
}

/// `ReLU(p)` of every latent: `x: [n, d_model]` gives `[n, d_sae]` in the weights' kind.
///
/// `x` and `b_dec` are subtracted in the wider of their kinds, then rounded to the weights' kind;
/// sums inside the product are f32 for bf16 weights too, and are rounded once at its end.
///
/// # Errors
/// Shapes that do not fit, or libtorch.
pub fn pre_acts(x: &Tensor, encoder: &Encoder<'_>) -> Result<Tensor> {
    Ok(linear(x, encoder)?.f_relu_()?)
}

/// `p` of every latent, before the ReLU.
fn linear(x: &Tensor, encoder: &Encoder<'_>) -> Result<Tensor> {
    const NAME: &str = "pre_acts";
    let (d_model, d_sae) = check::matrix(NAME, "w_enc", encoder.w_enc)?;
    let (n, _) = check::matrix(NAME, "x", x)?;
    check::shape(NAME, "x", x, &[n, d_model])?;
    check::shape(NAME, "b_enc", encoder.b_enc, &[d_sae])?;
    let kind = encoder.w_enc.kind();
    let input = match encoder.b_dec {
        None => x.f_to_kind(kind)?,
        Some(b_dec) => {
            check::shape(NAME, "b_dec", b_dec, &[d_model])?;
            x.f_sub(b_dec)?.f_to_kind(kind)?
        }
    };
    let b_enc = encoder.b_enc.f_to_kind(kind)?;
    let mut p = b_enc.f_addmm(&input, encoder.w_enc)?; // [n, d_sae]
    if let Some(scale) = encoder.scale {
        check::shape(NAME, "scale", scale, &[d_sae])?;
        p = p.f_mul_(&scale.f_to_kind(kind)?)?;
    }
    Ok(p)
}

/// The `k` largest positive values of each row of `relu: [n, d_sae]`, largest first.
///
/// Values of 0 and below are never active, so the ReLU may be left out before. Of equal values the
/// lower latent comes first. NaN counts as the largest value and as active, so that a fault in the
/// input shows in the output. `w` of the result is `min(k, d_sae)`.
///
/// # Errors
/// `k` of 0 or less, or libtorch.
pub fn topk_active(relu: &Tensor, k: i64) -> Result<Active> {
    const NAME: &str = "topk_active";
    let (n, d_sae) = check::matrix(NAME, "relu", relu)?;
    if k < 1 {
        return Err(KernelError::Range {
            kernel: NAME,
            operand: "k",
            found: k,
            expected: format!("1 to {d_sae}"),
        });
    }
    let w = k.min(d_sae);
    let device = relu.device();
    if n == 0 || d_sae == 0 {
        return Ok(Active {
            acts: Tensor::f_zeros([n, w], (Kind::Float, device))?,
            latents: Tensor::f_full([n, w], -1, (Kind::Int64, device))?,
            n_active: Tensor::f_zeros([n], (Kind::Int64, device))?,
        });
    }
    if host::is_host(relu) {
        return select_on_host(&host::plain(relu)?, d_sae, w);
    }
    #[cfg(feature = "cuda")]
    if let Some(active) = crate::cuda::select(&relu.f_contiguous()?, w)? {
        return Ok(active);
    }
    through_libtorch(relu, d_sae, w)
}

/// The selection of `relu: [n, d_sae]` through libtorch, where it is.
pub(crate) fn through_libtorch(relu: &Tensor, d_sae: i64, w: i64) -> Result<Active> {
    // One more than asked for shows a tie across the border of the selection.
    let (values, indices) = relu.f_topk((w + 1).min(d_sae), -1, true, true)?; // [n, w + 1]
    let mut acts = values.f_narrow(1, 0, w)?.f_contiguous()?; // [n, w]
    let mut latents = indices.f_narrow(1, 0, w)?.f_contiguous()?; // [n, w]

    // libtorch leaves the order of equal values open: rows that have any are sorted again, stably.
    let last = values.size()[1] - 1;
    let next = values.f_narrow(1, 1, last)?;
    let ties = next
        .f_eq_tensor(&values.f_narrow(1, 0, last)?)?
        .f_logical_and(&next.f_gt(0)?)?
        .f_any_dim(1, false)?
        .f_logical_or(&values.f_select(1, 0)?.f_isnan()?)?; // [n]
    let rows = ties.f_nonzero()?.f_flatten(0, -1)?;
    if rows.numel() > 0 {
        let (sorted, order) = relu
            .f_index_select(0, &rows)?
            .f_sort_stable(true, -1, true)?;
        acts = acts.f_index_copy_(0, &rows, &sorted.f_narrow(1, 0, w)?.f_contiguous()?)?;
        latents = latents.f_index_copy_(0, &rows, &order.f_narrow(1, 0, w)?.f_contiguous()?)?;
    }

    let unused = acts.f_le(0)?; // false for NaN
    Ok(Active {
        latents: latents.f_masked_fill_(&unused, -1)?,
        n_active: unused
            .f_logical_not()?
            .f_sum_dim_intlist(1i64, false, Kind::Int64)?,
        acts: acts.f_to_kind(Kind::Float)?.f_masked_fill_(&unused, 0)?,
    })
}

/// The selection of `relu: [n, d_sae]` by [`select`].
fn select_on_host(relu: &Tensor, d_sae: i64, w: i64) -> Result<Active> {
    let n = relu.size()[0];
    let mut active = Active {
        acts: Tensor::f_empty([n, w], (Kind::Float, relu.device()))?,
        latents: Tensor::f_empty([n, w], (Kind::Int64, relu.device()))?,
        n_active: Tensor::f_empty([n], (Kind::Int64, relu.device()))?,
    };
    let out = Output {
        acts: host::slice_mut(&mut active.acts)?,
        latents: host::slice_mut(&mut active.latents)?,
        counts: host::slice_mut(&mut active.n_active)?,
    };
    numbers!(relu, values => select::select_rows(values, d_sae as usize, w as usize, out));
    Ok(active)
}

/// Encodes `x: [n, d_model]`, a chunk of rows at a time.
///
/// The product is in the weights' kind: with bf16 weights it is a bf16 product (sums in f32,
/// rounded to bf16), and the selection is exact on what the product gave, so equal bf16 values are
/// ties and go by the lower latent.
///
/// # Errors
/// See [`pre_acts`] and [`topk_active`].
pub fn encode_topk(x: &Tensor, encoder: &Encoder<'_>, k: i64) -> Result<Active> {
    let (n, _) = check::matrix("encode_topk", "x", x)?;
    let (_, d_sae) = check::matrix("encode_topk", "w_enc", encoder.w_enc)?;
    let elements = if host::is_host(x) {
        HOST_ELEMENTS
    } else {
        DEVICE_ELEMENTS
    };
    let rows = (elements / d_sae.max(1)).max(1);
    if n <= rows {
        return topk_active(&linear(x, encoder)?, k);
    }
    let mut parts = Vec::new();
    for start in (0..n).step_by(rows as usize) {
        let chunk = x.f_narrow(0, start, rows.min(n - start))?;
        parts.push(topk_active(&linear(&chunk, encoder)?, k)?);
    }
    let join =
        |of: fn(&Active) -> &Tensor| Tensor::f_cat(&parts.iter().map(of).collect::<Vec<_>>(), 0);
    Ok(Active {
        acts: join(|p| &p.acts)?,
        latents: join(|p| &p.latents)?,
        n_active: join(|p| &p.n_active)?,
    })
}

/// `ReLU(p)` of chosen latents only: `x: [n, d_model]`, `latents: [m] i64` gives `[n, m] f32`.
///
/// On a device latents out of range are taken for the nearest in range, since to look at them would
/// be to wait for it: whoever puts them there checks them before.
///
/// # Errors
/// On the host latents out of range; shapes that do not fit, or libtorch.
pub fn latent_acts(x: &Tensor, encoder: &Encoder<'_>, latents: &Tensor) -> Result<Tensor> {
    let (_, d_sae) = check::matrix("latent_acts", "w_enc", encoder.w_enc)?;
    let latents = if host::is_host(latents) {
        let latents = latents.f_contiguous()?;
        check::host_indices("latent_acts", "latents", host::slice(&latents)?, 0, d_sae)?;
        latents
    } else {
        latents.f_clamp(0, d_sae - 1)?
    };
    let w_enc = encoder.w_enc.f_index_select(1, &latents)?; // [d_model, m]
    let b_enc = encoder.b_enc.f_index_select(0, &latents)?; // [m]
    let scale = encoder
        .scale
        .map(|s| s.f_index_select(0, &latents))
        .transpose()?;
    let part = Encoder {
        w_enc: &w_enc,
        b_enc: &b_enc,
        b_dec: encoder.b_dec,
        scale: scale.as_ref(),
    };
    Ok(pre_acts(x, &part)?.f_to_kind(Kind::Float)?)
}
