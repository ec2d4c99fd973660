//! What a plan needs to know of checkpoints and SAE sets, read from the small JSON files of their folders alone, and explanations of an
//! earlier run.

mod explanations;
mod json;
mod model;
mod sae_set;

pub use explanations::Explanations;
pub(crate) use json::MAX_JSON_BYTES;
pub use json::SourceError;
pub use model::ModelFolder;
pub use sae_set::{SaeFolder, SaeSet};
