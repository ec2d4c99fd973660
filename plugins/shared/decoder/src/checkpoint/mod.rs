//! Model folders in the Hugging Face layout: reading with every check that a file from outside
//! needs, and writing.

mod fit;
mod folder;
mod header;
mod write;

pub use fit::check_parameters;
pub use folder::{Checkpoint, LoadOptions, NonFinite, stored_kind};
pub use write::{save_checkpoint, write_weights};
