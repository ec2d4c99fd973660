//! Runs cells: one function a stage, over models and SAEs that stay loaded between cells.
//!
//! [`serve`] speaks the worker's side of the line protocol; [`Session`] holds what stays loaded. A stage reads its
//! parameters and the outputs of earlier cells, and nothing else, so that a cell's value depends on its key alone.

mod assets;
mod error;
mod explain;
mod features;

mod judge;

mod prompts;
mod score;

mod session;
mod windows;

pub use error::CellError;

pub use session::{Progress, Session};
