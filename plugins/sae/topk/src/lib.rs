//! Top-K sparse autoencoders: reading and writing their layouts, running them, training them.

mod error;
pub mod formats;
mod sae;
pub mod set;
mod tensors;
mod weights;

pub use error::{Result, SaeError};
pub use formats::{Stored, detect, load, save};
pub use sae::TopKSae;
pub use set::{Format, SetEntry, SetError, list_set};
pub use weights::{InputNorm, NonFinite, SaeMeta, TopKWeights};
