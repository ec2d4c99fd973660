//! Plugins that are good, bad, older, newer and made by others, against the real host.

pub mod bench;
mod interface;
mod laws;
mod refused;
mod third_party;
