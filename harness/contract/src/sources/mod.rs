//! What host and worker need to know of checkpoints and SAEs, as plugins say. What the host reads
//! itself is what every checkpoint of the Hugging Face layout has: its `model_type` and its names.

mod facts;
mod find;
mod model;
mod sae;

pub use facts::{ModelAnswer, ModelFacts};
pub use find::{Found, PassedOver, find};
pub use model::{Checkpoint, MAX_JSON_BYTES, ModelFolder};
pub use sae::{Claim, MadeFor, SaeAnswer, SaeFacts, SaeFolder, Training};
