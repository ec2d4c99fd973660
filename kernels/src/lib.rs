//! Operations that the harness spends its time in, each held by property tests to a plain
//! reference (`tests/it/reference`).
//!
//! | module | operation |
//! |---|---|
//! | [`topk`] | encode rows with a Top-K autoencoder (Eq. 1), exact in the order of ties |
//! | [`sparse`] | decode sparse activations, and the two products of its backward pass |
//! | [`steer`] | add a direction per row and position to a residual stream (Eq. 13) |
//! | [`jaccard`] | overlap of two sets of latents a row (Eq. 20) |
//! | [`moments`] | sums of residual rows that explained variance is made of, in f64 |
//! | [`clean`] | cross-entropy and divergence of spliced logits against kept clean ones |
//! | [`peak`] | what matrix products and memory of this machine do at best |
//! | [`mod@linear`] | a dense layer; few rows at the rate of memory |
//! | [`norm`] | root-mean-square norm of rows |
//! | [`rotate`] | rotary position embedding, in place |
//! | [`gate`] | the gate of a SwiGLU layer, in place |
//! | [`train`] | the sparse gradient of a Top-K autoencoder's loss, and Adam in place |
//! | [`clock`] | how long work takes where it is done, without waiting for it |
//! | [`readback`] | the way by which numbers of a tensor come to the host, counted |
//! | [`record`] | how many operations a stretch of work takes, libtorch's and ours |
//! | [`switch`] | which kernels are left out for libtorch's operations |
//! | [`simd`] | the instruction sets the CPU forms are compiled for |
//!
//! Every function runs where its tensors are. On a CPU it is a loop of ours compiled for several
//! instruction sets, or libtorch where that is faster; each module says which. On a CUDA device it
//! is a kernel compiled by NVRTC on first use where NVRTC is found and the feature `cuda` is on, as
//! it is by default, and libtorch's operations otherwise.

mod bags;
mod check;
pub mod clean;
pub mod clock;
mod collect;
#[cfg(any(feature = "cuda", test))]
mod cuda;
#[cfg(test)]
mod device_tests;
mod error;
mod exp;
pub mod gate;
mod host;
pub mod jaccard;
mod key;
pub mod linear;
pub mod moments;
pub mod norm;
pub mod peak;
mod pool;
pub mod readback;
pub mod record;
#[cfg(test)]
#[path = "../tests/it/reference/sets.rs"]
mod reference;
mod results;
pub mod rotate;
mod select;
pub mod simd;
mod softmax;
pub mod sparse;
pub mod steer;
pub mod switch;
pub mod topk;
pub mod train;

pub use clean::{CleanRows, Targets, ce_kl_rows};
pub use error::{KernelError, Result};
pub use gate::swiglu;
pub use jaccard::jaccard_rows;
pub use linear::linear;
pub use moments::{TextMoments, centred_moments, largest_kept, residual_moments, text_moments};
pub use norm::rms_norm;
pub use results::{Active, Moments};
pub use rotate::rotate_halves;
pub use sparse::{Groups, check_latents, decode_sparse, rows_dot};
pub use steer::steer_add;
pub use topk::{Encoder, encode_topk, latent_acts, pre_acts, topk_active};
pub use train::{AdamStep, Backward, ByLatent, Rows, SparseGradients, adam_step, sparse_gradients};
