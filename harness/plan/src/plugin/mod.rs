//! Plugins as files: manifests, folders and libraries, read without opening anything.
//!
//! Opening a library already runs its constructors, so everything that can be known before is known from here: what it offers
//! (`plugin.toml`), what it was built for, whether the file is whole, and its hash.

mod discover;
mod file;
mod manifest;
#[cfg(test)]
mod tests;

pub use discover::{Discovery, FoundPlugin, RefusedPlugin, discover};
pub use manifest::{ABI_MAJOR, ComponentEntry, KINDS, Manifest};
