//! Weight files looked at without the tensor library: whether they are what their names say and whether all of them is there.
//!
//! The header of a safetensors file tells all of that, and reading it costs nothing beside loading a model. So a cut download is found before a
//! worker is started, and `harness inspect` finds it at all. What the tensors must be called and shaped is for the plugin that reads them.

mod folder;
mod header;
#[cfg(test)]
mod tests;

pub use folder::{check_checkpoint, check_sae, read_tensors};
pub use header::{HeaderError, Limits, StoredTensor, read_header};
