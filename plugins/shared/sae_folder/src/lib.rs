//! What a folder with an SAE is, which layer the SAE reads and of which kind it is: one definition
//! for benches, `harness inspect` and the plugin that loads SAEs.
//!
//! A [`SaeFolder`] is what the files of one SAE say of it, whatever their layout. Nothing here
//! needs a tensor library.

mod config;
mod find;
mod kind;
mod layout;
mod openai;
mod sae;
mod site;

pub use config::{k_of, policy_of, stated_site};
pub use find::{Found, PassedOver, find};
pub use kind::Kind;
pub use layout::{Layout, layouts_in};
pub use openai::{OpenAiHeader, normalises_input, openai_header};
pub use sae::{MadeFor, SaeFolder, Unread, is_sae_file, own_name};
pub use site::{At, NoLayer, Site, Stated, layer_of, named_by_folder};

/// A configuration larger than this is not one.
const MAX_CONFIG: u64 = 4 << 20;
