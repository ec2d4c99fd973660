//! Plugins as files: manifests, folders and libraries, read without opening anything.
//!
//! Opening a library already runs its constructors, so everything that can be known before is known from here: what it offers
//! (`plugin.toml`), what it was built for, whether the file is whole, and its hash.

mod discover;
mod index;
mod library;
mod manifest;

pub use discover::{Discovery, FoundPlugin, PluginProblem, RefusedPlugin, discover};
pub use index::{Component, DuplicateName, PluginIndex, UnknownComponent};
pub use library::{LibraryFile, check_library, library_file_names};
pub use manifest::{ABI_MAJOR, ComponentEntry, KINDS, Manifest};
