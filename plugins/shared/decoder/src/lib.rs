//! One decoder-only transformer, causal or bidirectional, that can be entered and left between any
//! two blocks.
//!
//! Five families share it: Dream and LLaDA (masked diffusion, bidirectional), Qwen2 and LLaMA
//! (autoregressive, causal), all in [`Transformer`]; and GPT-2, which has another block, in
//! [`Gpt2`]. Both are driven through [`Decoder`]:
//!
//! ```text
//! begin(mask [b, capacity])            -> ForwardContext     positions, rope, masks, keys, values
//! embed(tokens [b, t], start)          -> resid [b, t, d]
//! blocks(first, last, resid [r, t, d]) -> resid [r, t, d]    resid_post[last - 1]
//! unembed(rows [n, d])                 -> logits [n, v]      final norm, then head
//! ```
//!
//! Read in this order: `config` (what a model is), `transformer` (the forward pass), `context`
//! (positions and masks), `attention`, `rope`, `layers`; then `names` and `checkpoint` (how it gets
//! its weights).
//!
//! Everything is differentiable: nothing here switches gradients off, so a caller that only
//! evaluates holds a `tch::no_grad_guard()`.

// The largest config.json is one `json!` literal.
#![recursion_limit = "256"]

#[cfg(feature = "adapter")]
pub mod adapter;
mod attention;
mod checkpoint;
mod config;
mod config_json;
mod config_write;
mod context;
mod error;
mod gpt2;
mod head;
mod layers;
mod make;
mod model;
mod names;
mod rope;
mod transformer;

pub use checkpoint::{
    Checkpoint, LoadOptions, NonFinite, check_parameters, save_checkpoint, stored_kind,
    write_weights,
};
pub use config::{
    Activation, Attention, DecoderConfig, Family, Objective, Positions, Rope, RopeScaling,
    ScoreScale, SpecialTokens, Yarn,
};
pub use config_json::default_size;
pub use context::{Cache, ForwardContext};
pub use error::DecoderError;
pub use gpt2::Gpt2;
pub use head::HEAD_CHUNK_BYTES;
pub use make::{from_tensors, init, load};
pub use model::Decoder;
pub use names::{Initial, ParameterSpec, parameters};
pub use transformer::Transformer;

/// Result of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, DecoderError>;
