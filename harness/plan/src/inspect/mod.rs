//! What SAEs and checkpoints say of themselves, read from their small files and the sizes of the
//! large ones.
//!
//! [`Inspected::read`] takes any folder a person may have: a set of SAEs, a folder of sets, one
//! SAE, or a checkpoint. A value that no file states is `None`.

mod model;
mod sae;
mod set;

pub use model::{InspectedModel, ParameterSource};
pub use sae::InspectedSae;
pub use set::{Inspected, InspectedSet};
