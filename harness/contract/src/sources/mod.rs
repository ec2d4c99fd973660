//! What host and worker need to know of a checkpoint, read from the small JSON files of its folder.

mod json;
mod model;

pub use json::{JsonFile, MAX_JSON_BYTES, SourceError};
pub use model::ModelFolder;
