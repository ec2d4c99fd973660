//! What a folder with an SAE is, which layer the SAE reads and of which kind it is: one definition
//! for benches, `harness inspect` and the plugin that loads SAEs.
//!
//! Nothing here needs a tensor library. Configurations are read by the caller, who knows what a
//! damaged file is worth, and are given as JSON.

mod config;
mod find;
mod kind;
mod layout;
mod openai;
mod site;

pub use config::{k_of, policy_of, stated_site};
pub use find::{Found, PassedOver, find};
pub use kind::Kind;
pub use layout::{Layout, layouts_in};
pub use openai::{OpenAiHeader, normalises_input, openai_header};
pub use site::{At, NoLayer, Site, Stated, layer_of, named_by_folder};
