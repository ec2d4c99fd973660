//! `harness train`: a grid of SAEs (layers × k × policy) from ONE stream of model passes
//! (PROTOCOL §3).
//!
//! ```text
//! text -> rows -> pass (corrupted, clean) -> residuals of every layer
//!      -> pool of each policy -> shuffled batches -> trainers
//! ```
//! A pool is filled, shuffled, and used up before the next one begins. Which rows a pool holds,
//! their order, and the masks follow from the seed and the place in the stream, so a checkpoint
//! needs the trainers' state and that place, and not the pool: an interrupted run reads the pool's
//! passes again and ends with the same bits.

mod checkpoint;
mod counting;
mod grid;
mod history;
mod job;
mod meter;
mod origin;
mod pace;
mod passes;
mod pool;
mod runtime;
mod settings;
mod supply;
#[cfg(test)]
mod tests;

pub use grid::Learner;
pub use job::{MakeLearner, run, run_with};
