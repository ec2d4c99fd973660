//! Plugins as files: manifests, folders and libraries, read without opening anything.
//!
//! Opening a library already runs its constructors, so everything that can be known before is known
//! from here: what it offers (`plugin.toml`), what it was built for, whether the file is whole, and
//! its hash.

mod choice;
mod discover;
mod file;
mod lock;
mod manifest;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_lock;

pub use choice::PluginChoice;
pub use discover::{Discovery, FoundPlugin, RefusedPlugin, discover};
pub use lock::{LOCK_FILE, Lock, LockedPlugin};
pub use manifest::{ABI_MAJOR, ComponentEntry, KINDS, Manifest};
