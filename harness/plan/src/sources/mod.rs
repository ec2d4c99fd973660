//! What a plan needs to know of SAE sets and text files, read from the small JSON files of their
//! folders alone, and explanations of an earlier run.

mod explanations;
mod sae_set;
mod text_files;

pub use explanations::Explanations;
pub use sae_folder::SaeFolder;
pub use sae_set::SaeSet;
pub(crate) use sae_set::{id_of, sae_hash};
pub use text_files::TextFiles;
pub use text_files::first_of;
