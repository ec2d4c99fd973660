//! Generating and scoring text: denoising, autoregressive decoding, steering, perplexity.
//!
//! ```text
//! prompts -> TokenGrid -> [pass: embed, blocks, steering at one layer, head where tokens are chosen] x steps -> Generated
//! ```
//! The model is driven in segments, so a direction can be added between two of its blocks, and only
//! the positions whose tokens are being chosen go through the head. All randomness is keyed by
//! (seed, item, step, position): see [`OrderDraws`].

mod autoregress;
mod denoise;
mod draws;
mod error;
mod forward;
mod generated;
mod grid;
mod observe;
mod perplexity;
pub mod sampling;
mod sequence;
mod steer;

pub use autoregress::{AutoregressRequest, autoregress};
pub use denoise::{DenoiseRequest, denoise};
pub use draws::{DrawLayout, OrderDraws};
pub use error::GenerateError;
pub use generated::Generated;
pub use grid::{TokenGrid, plan_batches};
pub use observe::{Observer, ResidualReport, Steered, StepFeatures, StepReport, Wants};
pub use perplexity::token_perplexity;
pub use sampling::{Sampling, SamplingRule};
pub use sequence::{continuations, cut_at_eos, text_of, token_ids};
pub use steer::{Magnitude, Steering};
