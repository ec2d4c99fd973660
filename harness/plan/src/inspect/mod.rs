//! What SAEs and checkpoints say of themselves, read from their small files and the sizes of the large ones.
//!
//! [`Inspected::read`] takes any folder a person may have: a set of SAEs, a folder of sets, one SAE, or a checkpoint. A
//! value that no file states is `None`. [`tables`] makes the rows of Tables 1 and 3 from inspected sets, [`render`]
//! the lists of `harness inspect`.

mod model;
pub mod render;
mod runtime;
mod sae;
mod set;
pub mod tables;
#[cfg(test)]
mod tests;

pub use model::{InspectedModel, ParameterSource};
pub use runtime::{RUNTIME_FILE, Runtime, SaeSeconds};
pub use sae::InspectedSae;
pub use set::{Inspected, InspectedSet};
