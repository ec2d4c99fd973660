//! Checkpoint folders as people have them, looked at without the tensor library: what a folder is,
//! whether its weight files are what their names say, and whether all of them are there.
//!
//! The host looks before it starts a worker and the model plugins look when they load, so that
//! every command refuses the same folder with the same words. What the tensors must be called and
//! shaped is for the plugin that reads them.

mod defaults;
mod error;
mod files;
mod folder;
mod head;
mod header;
mod json;
mod look_alike;
mod missing;
mod quantised;

pub use defaults::default_size;
pub use error::{InputError, Result};
pub use files::{WeightFile, Weights, check_download, read_tensors, read_weights};
pub use folder::{check_folder, is_checkpoint_file, model_like};
pub use head::{StoredHead, stored_head, untied_head};
pub use header::{HeaderError, Limits, StoredTensor, read_header};
pub use json::{plain_json, read_small, read_text, replace_python_numbers};
pub use look_alike::misplaced;
pub use missing::not_a_folder;
