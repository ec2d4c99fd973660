//! What host and worker need to know of checkpoints and SAEs: of a checkpoint what the small JSON
//! files of its folder say, of an SAE what plugins answer.

mod family;
mod find;
mod json;
mod model;
mod sae;

pub use find::{Found, PassedOver, find};
pub use json::MAX_JSON_BYTES;
pub use model::ModelFolder;
pub use sae::{Claim, MadeFor, SaeAnswer, SaeFacts, SaeFolder, Training};
