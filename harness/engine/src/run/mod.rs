//! Runs cells: one function a stage, over models and SAEs that stay loaded between cells.
//!
//! [`serve`] speaks the worker's side of the line protocol; [`Session`] holds what stays loaded. A
//! stage reads its parameters and the outputs of earlier cells, and nothing else, so that a cell's
//! value depends on its key alone.

mod asking;
mod assets;
mod cell;
mod decoding;
mod error;
mod explain;
mod fidelity;
mod generate;
mod halving;
mod interpret;
mod judge;
mod memory;
mod perplexity;
mod predict;
pub(crate) mod prompt;
mod prompts;
mod questions;
mod rollout;
mod score;
mod serve;
mod session;
mod shard;
mod together;

pub use cell::Progress;
pub use error::{CellError, OpenCell};
pub use serve::serve;
pub use session::Session;
