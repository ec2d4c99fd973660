//! Benches → stages → cells; the store; comparison; reports. Links no torch and opens no plugin.
//!
//! A bench (`benchmarks/tables/*.toml`) is read by [`mod@bench`], resolved against plugins ([`plugin`]), checkpoints and SAE sets
//! ([`sources`]), and expanded by [`expand`] into [`cell::Cell`]s, each keyed by everything that can change its value.
//! A worker runs cells ([`protocol`]) and leaves their results in the [`store`], which several processes share ([`claims`]), on several machines too ([`shards`]); [`table`] derives CSV from them and
//! [`compare`] compares CSV files; [`replies`] keeps what judges answered and [`answers`] reads it; [`figure`] draws them; [`inspect`] lists what SAEs and checkpoints say of themselves; [`report`] shows latents in pages. Nothing here depends on
//! the order in which cells were run, or where.

pub mod answers;
pub mod bench;
pub mod canonical;
pub mod cell;
pub mod claims;
pub mod compare;
pub mod config;
pub mod exit;
pub mod expand;
pub mod figure;
pub mod hash;
pub mod inert;
pub mod inspect;
pub mod jobs;
pub mod outputs;
pub mod parts;
pub mod plugin;
pub mod protocol;
pub mod replies;
pub mod report;
pub mod shards;
pub mod signals;
pub mod sources;
pub mod stages;
pub mod store;
pub mod table;
pub mod trail;
pub mod weights;
pub mod wire;
