//! What a plan needs to know of checkpoints and SAE sets, read from the small JSON files of their folders alone, and explanations of an
//! earlier run.

mod explanations;
mod family;
mod json;
mod model;
mod sae_set;
mod text_files;

pub use explanations::Explanations;
pub(crate) use json::MAX_JSON_BYTES;
pub use model::ModelFolder;
pub use sae_set::SaeSet;
pub(crate) use sae_set::{id_of, sae_hash};
pub use text_files::TextFiles;
pub(crate) use text_files::first_of;

use harness_weights::InputError;

use crate::hash::HashError;

/// A file whose content could not be hashed, as one that cannot be read.
pub(crate) fn unread(HashError { path, source }: HashError) -> InputError {
    InputError::Io { path, source }
}
