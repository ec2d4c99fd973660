//! Checkpoints and SAE sets as folders: what a plan needs to know of them, read from their small JSON files alone.

mod json;
mod model;
mod sae_set;

pub use json::SourceError;
pub use model::ModelFolder;
pub use sae_set::{SaeFolder, SaeSet};
