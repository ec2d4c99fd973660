//! What a plan needs to know of SAE sets, which plugins say, of text files, and explanations of an
//! earlier run.

mod answers;
mod explanations;
mod sae_set;
mod text_files;

pub use answers::Answers;
pub use explanations::Explanations;
pub use sae_set::SaeSet;
pub(crate) use sae_set::{id_of, own_name, sae_hash};
pub use text_files::TextFiles;
pub use text_files::first_of;
