//! What operations return, whichever form of them has run.

use tch::Tensor;

/// Active latents of `n` rows. Unused slots hold latent -1 and act 0.
#[derive(Debug)]
pub struct Active {
    /// `[n, w] f32`, in descending order.
    pub acts: Tensor,
    /// `[n, w] i64`.
    pub latents: Tensor,
    /// `[n] i64`.
    pub n_active: Tensor,
}

/// Sums over rows of `x - other`, where the rows are: [`readback`](crate::readback) brings those of
/// many calls to the host in one read.
#[derive(Debug)]
pub struct Moments {
    /// `|x - other|^2` of each row: `[n] f64`.
    pub squares: Tensor,
    /// Sum of `x - other` over the rows: `[d] f64`.
    pub all: Tensor,
    /// The same over the rows to keep: `[d] f64`.
    pub kept: Tensor,
}
