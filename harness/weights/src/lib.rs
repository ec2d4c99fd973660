//! Weight files and the folders they lie in, read without the tensor library: what a folder is,
//! whether its weight files are what their names say, and whether all of them are there.
//!
//! The host looks before it starts a worker and the plugins look when they load, so that every
//! command refuses the same file with the same words. What the tensors must be called and shaped is
//! for the plugin that reads them. The files of `torch.save` are read by [`pt`].

mod check;
mod error;
mod files;
mod folder;
mod head;
mod header;
mod json;
mod look_alike;
mod missing;
pub mod pt;
mod quantised;

pub use check::{check_checkpoint, check_sae};
pub use error::{InputError, Result};
pub use files::{WeightFile, Weights, check_download, read_tensors, read_weights};
pub use folder::{check_folder, is_checkpoint_file, model_like};
pub use head::{StoredHead, stored_head, untied_head};
pub use header::{HeaderError, Limits, StoredTensor, read_header};
pub use json::{plain_json, read_object, read_small, read_text, replace_python_numbers};
pub use look_alike::LookAlike;
pub use missing::not_a_folder;
pub use safetensors::Dtype;
