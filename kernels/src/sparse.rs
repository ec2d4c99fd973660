//! Products with a sparse activation matrix given as `acts` and `latents` of `w` slots a row.
//!
//! A row gathers at most `w` decoder rows, so the cost is `n·w·d_model` instead of
//! `n·d_sae·d_model`.

use tch::{Kind, Tensor};

pub use crate::bags::Form;
use crate::{
    KernelError, Result,
    bags::{self, Bags},
    check,
    host::{self, numbers},
};

/// Sums mode of libtorch's embedding bag.
const SUM: i64 = 0;
/// Most elements gathered at a time by [`rows_dot`] (64 MiB of f32).
const CHUNK_ELEMENTS: i64 = 1 << 24;

/// `x_hat[i] = Σ_j acts[i, j] · w_dec[latents[i, j]] + b_dec` (Eq. 2).
///
/// `acts: [n, w] f32`, `latents: [n, w] i64` with -1 for unused slots, `w_dec: [d_sae, d_model] f32
/// or bf16`, `b_dec: [d_model]` gives `[n, d_model] f32`. On a CPU sums are f32 for bf16 rows too
/// and nothing is rounded to bf16; a NaN act or row makes the rows it is part of NaN.
///
/// On a device latents out of range are taken for the nearest in range, since to look at them would
/// be to wait for it: whoever decodes latents that may be wrong checks them, with what else is
/// read.
///
/// # Errors
/// On the host latents out of range; shapes that do not fit, or libtorch.
pub fn decode_sparse(
    acts: &Tensor,
    latents: &Tensor,
    w_dec: &Tensor,
    b_dec: Option<&Tensor>,
) -> Result<Tensor> {
    let (d_sae, d_model) = check::matrix("decode_sparse", "w_dec", w_dec)?;
    let size = if w_dec.kind() == Kind::BFloat16 { 2 } else { 4 };
    let form = Form::choose(latents.numel(), d_sae as usize, d_model as usize, size);
    decode_sparse_as(form, acts, latents, w_dec, b_dec)
}

/// [`decode_sparse`] in a form of the caller's choice, for tests and timings; the form changes no
/// bit.
///
/// # Errors
/// As [`decode_sparse`].
pub fn decode_sparse_as(
    form: Form,
    acts: &Tensor,
    latents: &Tensor,
    w_dec: &Tensor,
    b_dec: Option<&Tensor>,
) -> Result<Tensor> {
    const NAME: &str = "decode_sparse";
    let (n, w) = check::matrix(NAME, "acts", acts)?;
    let (d_sae, d_model) = check::matrix(NAME, "w_dec", w_dec)?;
    check::shape(NAME, "latents", latents, &[n, w])?;
    let mut out = if host::is_host(acts) {
        decode_on_host(form, acts, latents, w_dec)?
    } else if n * w * d_sae * d_model == 0 {
        Tensor::f_zeros([n, d_model], (Kind::Float, acts.device()))?
    } else {
        let safe = latents.f_clamp(-1, d_sae - 1)?;
        match on_cuda(acts, &safe, w_dec)? {
            Some(out) => out,
            None => through_libtorch(acts, &safe, w_dec)?,
        }
    };
    if let Some(b_dec) = b_dec {
        check::shape(NAME, "b_dec", b_dec, &[d_model])?;
        out = out.f_add_(b_dec)?;
    }
    Ok(out)
}

/// Checks that latents are in `lowest..d_sae`: `latents` of any shape, i64. A device is waited for.
///
/// # Errors
/// A latent out of range, or libtorch.
pub fn check_latents(latents: &Tensor, lowest: i64, d_sae: i64) -> Result<()> {
    check::indices("check_latents", "latents", latents, lowest, d_sae)
}

/// Sums of weighted decoder rows on a CPU: `[n, d_model] f32`.
fn decode_on_host(form: Form, acts: &Tensor, latents: &Tensor, w_dec: &Tensor) -> Result<Tensor> {
    let (n, w) = check::matrix("decode_sparse", "latents", latents)?;
    let (d_sae, d_model) = check::matrix("decode_sparse", "w_dec", w_dec)?;
    let acts = acts.f_to_kind(Kind::Float)?.f_contiguous()?;
    let latents = latents.f_contiguous()?;
    let indices = host::slice(&latents)?;
    check::host_indices("decode_sparse", "latents", indices, -1, d_sae)?;
    if n * w * d_model == 0 {
        return Ok(Tensor::f_zeros([n, d_model], (Kind::Float, acts.device()))?);
    }
    let slots = Bags::from_slots(host::slice(&acts)?, indices, w as usize);
    if form != Form::Libtorch || w_dec.kind() != Kind::Float {
        return sum_on_host(&slots, w_dec, form);
    }
    let numbers: Vec<i64> = slots.rows.iter().map(|&row| i64::from(row)).collect();
    let starts: Vec<i64> = (slots.starts.iter().take(n as usize))
        .map(|&start| start as i64)
        .collect();
    bags(
        w_dec,
        &host::tensor(&numbers)?,
        &host::tensor(&starts)?,
        &host::tensor(&slots.weights)?,
    )
}

/// The same by libtorch where the tensors are, for latents in range; none of `n`, `w` and the sizes
/// of the table is 0.
///
/// Every slot is gathered, since libtorch would wait to know how many are used. An unused slot adds
/// 0 times a row that its own row reads anyway, and a row without any is filled with 0: numbers
/// that are not finite spread to no other row.
pub(crate) fn through_libtorch(acts: &Tensor, latents: &Tensor, w_dec: &Tensor) -> Result<Tensor> {
    let (n, w) = check::matrix("decode_sparse", "latents", latents)?;
    let any = latents.f_amax(1i64, true)?; // [n, 1]
    let unused = latents.f_lt(0)?; // [n, w]
    let safe = latents.f_where_self(&unused.f_logical_not()?, &any.f_clamp_min(0)?)?;
    let weights = acts.f_masked_fill(&unused, 0)?.f_to_kind(w_dec.kind())?;
    let starts = Tensor::f_arange_start_step(0, n * w, w, (Kind::Int64, acts.device()))?;
    let flat = |t: &Tensor| t.f_reshape([-1]);
    let sums = bags(w_dec, &flat(&safe)?, &starts, &flat(&weights)?)?.f_to_kind(Kind::Float)?;
    Ok(sums.f_masked_fill(&any.f_lt(0)?, 0)?)
}

/// The used slots of `latents: [n, w]` grouped by latent, for several sums over the same latents.
#[derive(Debug)]
pub struct Groups {
    shape: (i64, i64),
    /// Used slots of the flattened latents, ordered by latent, then by row: `[m]`.
    slots: Tensor,
    /// Row of each: `[m]`.
    rows: Tensor,
    /// First of each latent: `[d_sae]`.
    starts: Tensor,
    /// Slots of each latent: `[d_sae]`.
    counts: Tensor,
}

impl Groups {
    /// Groups `latents: [n, w] i64`, -1 being unused.
    ///
    /// # Errors
    /// Latents out of range, no matrix, or libtorch.
    pub fn new(latents: &Tensor, d_sae: i64) -> Result<Self> {
        const NAME: &str = "Groups::new";
        let (n, w) = check::matrix(NAME, "latents", latents)?;
        check::indices(NAME, "latents", latents, -1, d_sae)?;
        let flat = latents.f_flatten(0, -1)?; // [n * w]
        let used = flat.f_ge(0)?.f_nonzero()?.f_flatten(0, -1)?; // [m]
        let (sorted, order) = flat
            .f_index_select(0, &used)?
            .f_sort_stable(true, 0, false)?;
        let slots = used.f_index_select(0, &order)?;
        let counts = sorted.f_bincount(None::<&Tensor>, d_sae)?;
        Ok(Self {
            shape: (n, w),
            rows: slots.f_floor_divide_scalar(w.max(1))?,
            slots,
            starts: starts(&counts.f_cumsum(0, Kind::Int64)?)?,
            counts,
        })
    }

    /// How often each latent is active: `[d_sae] i64`.
    pub fn counts(&self) -> &Tensor {
        &self.counts
    }

    /// `out[f] = Σ_{i, j: latents[i, j] = f} weights[i, j] · rows[i]`: the transpose of
    /// [`decode_sparse`].
    ///
    /// `rows: [n, d]`, `weights: [n, w]` gives `[d_sae, d]`. The sum of a latent runs over the rows
    /// in order, so equal input gives equal bits.
    ///
    /// # Errors
    /// Shapes that do not fit, or libtorch.
    pub fn accumulate(&self, rows: &Tensor, weights: &Tensor) -> Result<Tensor> {
        const NAME: &str = "Groups::accumulate";
        let (n, w) = self.shape;
        let (_, d) = check::matrix(NAME, "rows", rows)?;
        check::shape(NAME, "rows", rows, &[n, d])?;
        check::shape(NAME, "weights", weights, &[n, w])?;
        let weights = weights.f_flatten(0, -1)?.f_index_select(0, &self.slots)?; // [m]
        let d_sae = self.counts.numel();
        let form = Form::choose(self.rows.numel(), n as usize, d as usize, 4);
        let libtorch = form == Form::Libtorch && rows.kind() == Kind::Float;
        if !host::is_host(rows) || d_sae == 0 || d == 0 || libtorch {
            return bags(rows, &self.rows, &self.starts, &weights);
        }
        let mut starts = vec![0];
        let ends = self.counts.f_cumsum(0, Kind::Int64)?;
        starts.extend(host::slice::<i64>(&ends)?.iter().map(|&end| end as usize));
        let weights = weights.f_to_kind(Kind::Float)?;
        let slots = Bags {
            starts,
            rows: host::slice::<i64>(&self.rows)?
                .iter()
                .map(|&row| row as u32)
                .collect(),
            weights: host::slice::<f32>(&weights)?.to_vec(),
        };
        Ok(sum_on_host(&slots, rows, form)?.f_to_kind(rows.kind())?)
    }
}

/// `out[i, j] = rows[i] · table[latents[i, j]]`, 0 in unused slots.
///
/// `rows: [n, d]`, `table: [d_sae, d]`, `latents: [n, w] i64` gives `[n, w]`. Gathers where few
/// latents are active and multiplies densely where many are.
///
/// # Errors
/// Latents out of range, shapes that do not fit, or libtorch.
pub fn rows_dot(rows: &Tensor, table: &Tensor, latents: &Tensor) -> Result<Tensor> {
    const NAME: &str = "rows_dot";
    let (n, d) = check::matrix(NAME, "rows", rows)?;
    let (d_sae, _) = check::matrix(NAME, "table", table)?;
    check::shape(NAME, "table", table, &[d_sae, d])?;
    let (_, w) = check::matrix(NAME, "latents", latents)?;
    check::shape(NAME, "latents", latents, &[n, w])?;
    check::indices(NAME, "latents", latents, -1, d_sae)?;
    if n * w == 0 || d_sae == 0 {
        return Ok(Tensor::f_zeros([n, w], (rows.kind(), rows.device()))?);
    }
    let safe = latents.f_clamp_min(0)?;
    // A dense product reads each table row once; gathering costs some 32 times as much per number.
    let out = if d_sae <= 32 * w {
        rows.f_matmul(&table.f_tr()?)?.f_gather(1, &safe, false)? // [n, w]
    } else {
        let step = (CHUNK_ELEMENTS / (w * d).max(1)).max(1);
        let mut parts = Vec::new();
        for start in (0..n).step_by(step as usize) {
            let len = step.min(n - start);
            let picked = table
                .f_index_select(0, &safe.f_narrow(0, start, len)?.f_flatten(0, -1)?)?
                .f_view([len, w, d])?;
            parts.push(
                picked
                    .f_bmm(&rows.f_narrow(0, start, len)?.f_unsqueeze(2)?)?
                    .f_squeeze_dim(2)?,
            );
        }
        Tensor::f_cat(&parts, 0)? // [n, w]
    };
    Ok(out.f_masked_fill(&latents.f_lt(0)?, 0)?)
}

/// Weighted sums of rows of `table: [rows, d]` on a CPU: `[bags, d] f32`.
fn sum_on_host(slots: &Bags, table: &Tensor, form: Form) -> Result<Tensor> {
    const NAME: &str = "decode_sparse";
    let (rows, d) = check::matrix(NAME, "w_dec", table)?;
    if u32::try_from(rows).is_err() {
        return Err(KernelError::Range {
            kernel: NAME,
            operand: "rows of the table",
            found: rows,
            expected: format!("0 to {}", u32::MAX),
        });
    }
    let table = host::plain(table)?;
    let n = slots.starts.len() as i64 - 1;
    let mut out = Tensor::f_empty([n, d], (Kind::Float, table.device()))?;
    let sums = host::slice_mut(&mut out)?;
    numbers!(table, table => bags::sum(slots, table, d as usize, form, sums));
    Ok(out)
}

/// The CUDA form, where it is compiled in and applies.
#[cfg(feature = "cuda")]
fn on_cuda(acts: &Tensor, latents: &Tensor, table: &Tensor) -> Result<Option<Tensor>> {
    crate::cuda::decode(acts, latents, &table.f_contiguous()?)
}

#[cfg(not(feature = "cuda"))]
fn on_cuda(_: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
    Ok(None)
}

/// First element of each bag, from the ends of the bags.
fn starts(ends: &Tensor) -> Result<Tensor> {
    let bags = ends.size()[0];
    let first = Tensor::f_zeros([1], (Kind::Int64, ends.device()))?;
    Ok(Tensor::f_cat(
        &[&first, &ends.f_narrow(0, 0, bags - 1)?],
        0,
    )?)
}

/// Weighted sums of rows of `table`, one per bag.
fn bags(table: &Tensor, indices: &Tensor, offsets: &Tensor, weights: &Tensor) -> Result<Tensor> {
    if indices.numel() == 0 {
        let shape = [offsets.size()[0], table.size()[1]];
        return Ok(Tensor::f_zeros(shape, (table.kind(), table.device()))?);
    }
    let table = table.f_contiguous()?;
    let (sum, ..) = Tensor::f_embedding_bag(
        &table,
        indices,
        offsets,
        false,
        SUM,
        false,
        Some(weights),
        false,
    )?;
    Ok(sum)
}
