//! SAE features followed through a denoising run, in the pass that generates (Eq. 20 to 24).
//!
//! ```text
//! pass k: block l ──► residual [b, t, d_model] ──► encode ──► top k_set latents [n, k_set] ─┬─► Jaccard with those of pass k-1
//!                     (nothing is copied)                     (kept until pass k+1) ────────┘        │
//!                                                   orders that read features ◄── [l, b, t] ─────────┤
//!                                                                   sums of each prompt ◄────────────┘
//! ```
//! [`FeatureTrace`] is the observer; what is counted is decided by `harness_core::dynamics`. It
//! holds the latents of two passes and sums, so its memory depends on the batch and not on the
//! number of steps or prompts.

mod trace;

pub use trace::{Active, FeatureTrace, Tracked};
