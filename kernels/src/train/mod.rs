//! What a training step of a Top-K autoencoder does beside its encoder's product: the sparse
//! gradient, and Adam.
//!
//! On a CPU both are loops of ours, one pass over the parameters each; elsewhere they are made of
//! libtorch's operations, which are also what the loops are tested against. Latents are cut into
//! blocks of a fixed size, so the number of threads changes no bit.

mod adam;
mod gradients;
mod lanes;
#[cfg(test)]
mod tests;

pub use adam::{AdamStep, Rows, adam_step};
pub use gradients::{Backward, ByLatent, SparseGradients, sparse_gradients};
