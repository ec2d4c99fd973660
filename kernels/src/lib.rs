//! Operations that the harness spends its time in, each beside a plain reference that a property test holds it to.
//!
//! | module | operation |
//! |---|---|
//! | [`topk`] | encode rows with a Top-K autoencoder (Eq. 1), exact in the order of ties |
//! | [`sparse`] | decode sparse activations, and the two products of its backward pass |
//! | [`steer`] | add a direction per row and position to a residual stream (Eq. 13) |
//! | [`loss`] | cross-entropy of rows against targets, chunk by chunk |
//! | [`stats`] | arg-max, two largest probabilities and entropy of a row of logits |
//! | [`reference`](mod@reference) | the same in plain loops over slices |
//!
//! Every function runs where its tensors are, on a CPU or a CUDA device, through libtorch.

mod check;
mod error;
pub mod loss;
pub mod reference;
pub mod sparse;
pub mod stats;
pub mod steer;
pub mod topk;

pub use error::{KernelError, Result};
pub use loss::{cross_entropy_chunked, cross_entropy_rows};
pub use sparse::{Groups, accumulate_rows, decode_sparse, rows_dot};
pub use stats::{TokenStats, token_stats};
pub use steer::steer_add;
pub use topk::{Active, Encoder, encode_topk, latent_acts, max_act, pre_acts, topk_active};
