//! Bench files → settings → cells, and what is known of models and SAEs.
//!
//! A bench (`benchmarks/tables/*.toml`) is read by [`mod@bench`], resolved against plugins,
//! checkpoints and SAE sets ([`sources`]), and expanded by [`expand`] into cells. [`shards`] cuts
//! the missing ones into chunks for other machines; [`inspect`] lists what SAEs and checkpoints say
//! of themselves.

pub mod bench;
pub mod expand;
pub mod inspect;
pub mod shards;
pub mod sources;
