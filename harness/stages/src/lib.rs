//! Runs cells: the worker's side of each stage, over models and SAEs that stay loaded between
//! cells.
//!
//! ```text
//! serve ──► executor ──► Stage::run ──► a pass of the engine (run_grid, denoise, …)
//!            within_memory: half batches for cells that memory was too small for
//!            bisect:        halves of a group that failed as a whole
//!            two_pass:      the questions of several cells in one batch of a judge
//! ```
//! [`serve`] speaks the worker's side of the line protocol. The executor knows how cells are run
//! and no stage; its list names them all. A stage reads its parameters and the outputs of earlier
//! cells, and nothing else, so that a cell's value depends on its key alone; what it may use of
//! the worker is its [`Worker`].

mod asking;
mod assets;
mod autointerp;
mod decoding;
mod executor;
mod explain;
mod fidelity;
mod generation;
mod memory;
mod rollout;
mod rows;
mod serve;
mod stage;
mod steering;
mod worker;

pub use serve::serve;
pub use worker::Worker;
