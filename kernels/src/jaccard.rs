//! Overlap of sets of latents, the Jaccard index of Eq. 20.

use tch::{Kind, Tensor};

use crate::{Result, check, host, pool};

/// Rows of a task.
const BLOCK: usize = 256;
/// Latents beyond this are refused: a table of one number a latent is kept on the CPU.
const MAX_LATENTS: i64 = 1 << 26;
/// Most numbers of a comparison of all with all on a device.
const CHUNK_ELEMENTS: i64 = 1 << 26;

/// `|A ∩ B| / |A ∪ B|` of each row's sets: `a: [n, ka] i64`, `b: [n, kb] i64` gives `[n] f64`.
///
/// -1 is an unused slot; a latent named twice counts once; two empty sets are equal, 1.
///
/// On a device whatever is below 0 is unused and no latent is too large, since to look at them
/// would be to wait for it.
///
/// # Errors
/// Shapes that do not fit, on the host latents below -1 or beyond 2^26, or libtorch.
pub fn jaccard_rows(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const NAME: &str = "jaccard_rows";
    let (n, ka) = check::matrix(NAME, "a", a)?;
    let (_, kb) = check::matrix(NAME, "b", b)?;
    check::shape(NAME, "b", b, &[n, kb])?;
    if !host::is_host(a) || !host::is_host(b) {
        let b = b.f_to_device(a.device())?;
        #[cfg(feature = "cuda")]
        if let Some(overlap) = crate::cuda::jaccard(a, &b)? {
            return Ok(overlap);
        }
        return on_device(a, &b);
    }
    let (a, b) = (a.f_contiguous()?, b.f_contiguous()?);
    let (left, right) = (host::slice::<i64>(&a)?, host::slice::<i64>(&b)?);
    check::host_indices(NAME, "a", left, -1, MAX_LATENTS)?;
    check::host_indices(NAME, "b", right, -1, MAX_LATENTS)?;
    let largest = left.iter().chain(right).max().copied().unwrap_or(-1);
    let (ka, kb) = (ka as usize, kb as usize);
    let mut out = vec![0.0f64; n as usize];
    let tasks: Vec<_> = out.chunks_mut(BLOCK).enumerate().collect();
    pool::run(tasks, (left.len() + right.len()) * 4, |(block, out)| {
        let mut seen = Seen::new((largest + 1) as usize);
        for (i, out) in out.iter_mut().enumerate() {
            let row = block * BLOCK + i;
            *out = seen.overlap(
                &left[row * ka..(row + 1) * ka],
                &right[row * kb..(row + 1) * kb],
            );
        }
    });
    Ok(Tensor::f_from_slice(&out)?)
}

/// When each latent was last met; no row has to clear what the row before left.
struct Seen {
    marks: Vec<u32>,
    /// Mark of this row's first set; one more is the mark of its second.
    mark: u32,
}

impl Seen {
    fn new(latents: usize) -> Self {
        Self {
            marks: vec![0; latents],
            mark: 0,
        }
    }

    fn overlap(&mut self, a: &[i64], b: &[i64]) -> f64 {
        self.mark += 2;
        let (first, second) = (self.mark, self.mark + 1);
        let (mut union, mut common) = (0u32, 0u32);
        for &latent in a.iter().filter(|&&l| l >= 0) {
            let mark = &mut self.marks[latent as usize];
            union += u32::from(*mark != first);
            *mark = first;
        }
        for &latent in b.iter().filter(|&&l| l >= 0) {
            let mark = &mut self.marks[latent as usize];
            common += u32::from(*mark == first);
            union += u32::from(*mark < first);
            *mark = second;
        }
        if union == 0 {
            1.0
        } else {
            f64::from(common) / f64::from(union)
        }
    }
}

/// All slots against all, through libtorch.
pub(crate) fn on_device(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (a, b) = (distinct(a)?, distinct(b)?);
    let (n, ka, kb) = (a.size()[0], a.size()[1], b.size()[1]);
    let rows = (CHUNK_ELEMENTS / (ka * kb).max(1)).max(1);
    let mut parts = vec![Tensor::f_zeros([0], (Kind::Double, a.device()))?];
    for start in (0..n).step_by(rows as usize) {
        let len = rows.min(n - start);
        let (a, b) = (a.f_narrow(0, start, len)?, b.f_narrow(0, start, len)?);
        let count = |t: &Tensor| t.f_sum_dim_intlist(1i64, false, Kind::Double);
        let used = |t: &Tensor| t.f_ge(0)?.f_sum_dim_intlist(1i64, false, Kind::Double);
        let same = a.f_unsqueeze(2)?.f_eq_tensor(&b.f_unsqueeze(1)?)?; // [len, ka, kb]
        let common = count(&same.f_any_dim(2, false)?.f_logical_and(&a.f_ge(0)?)?)?; // [len]
        let union = used(&a)?.f_add(&used(&b)?)?.f_sub(&common)?;
        let share = common
            .f_div(&union.f_clamp_min(1)?)?
            .f_masked_fill(&union.f_eq(0)?, 1)?;
        parts.push(share);
    }
    Ok(Tensor::f_cat(&parts, 0)?)
}

/// Sorted rows with repeated latents unused.
fn distinct(t: &Tensor) -> Result<Tensor> {
    if t.size()[1] < 2 {
        return Ok(t.shallow_clone());
    }
    let (sorted, _) = t.f_sort(1, false)?;
    let width = sorted.size()[1];
    let again = sorted
        .f_narrow(1, 1, width - 1)?
        .f_eq_tensor(&sorted.f_narrow(1, 0, width - 1)?)?;
    let rest = sorted
        .f_narrow(1, 1, width - 1)?
        .f_masked_fill(&again, -1)?;
    Ok(Tensor::f_cat(&[sorted.f_narrow(1, 0, 1)?, rest], 1)?)
}
