//! Training a Top-K SAE (PROTOCOL §3): Adam, schedules, unit-norm decoder, and an auxiliary loss
//! for dead latents.
//!
//! The gradient is written by hand: with `k` of `d_sae` latents active it is sparse, and four of
//! the five products of an automatic one shrink by that share. What is left is the encoder's
//! product, which may be in bf16 while parameters and their moments stay f32, and one pass over the
//! parameters.

mod adam;
mod backward;
mod config;
mod init;
mod parameters;
mod state;
mod trainer;

pub use config::{ProductDtype, TrainConfig};
pub use trainer::{StepReport, Trainer};
