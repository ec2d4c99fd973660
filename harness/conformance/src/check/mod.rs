//! Conformance tests of plugins: the laws of each kind, for authors (`harness plugins check`).
//!
//! A job lists the tests of the plugins in some folders from their manifests alone, without opening
//! a library, or runs one of them in this process. The host gives each test a process of its own,
//! so that a plugin that aborts or hangs ends one test and is reported as crashed. All inputs come
//! from a fixed seed.
//!
//! A test succeeds, fails, warns (allowed, yet likely a mistake), or is skipped aloud. A panic that
//! a plugin's bridge turned into an error is a failure wherever it occurs.

mod component;
mod data;
mod job;
mod judge;
mod kind;
mod library;
mod list;
mod metric;
mod model;
mod model_laws;
mod remasker;
mod sae;
mod steering;
mod subject;
mod verdict;

pub use job::run;
