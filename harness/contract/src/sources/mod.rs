//! What host and worker need to know of a checkpoint, read from the small JSON files of its folder.

mod family;
mod json;
mod model;

pub use json::MAX_JSON_BYTES;
pub use model::ModelFolder;
