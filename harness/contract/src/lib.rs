//! What the host and its workers share: cells and their parameters, outputs of stages, the line
//! protocol, jobs, plugin manifests, hashes and exit codes. Links no torch and opens no plugin.
//!
//! A [`cell::Cell`] is one unit of work of a [`stages::Stage`], keyed by everything that can change
//! its result, which is one of [`outputs`]. The host sends cells and [`jobs`] to a worker as lines
//! ([`protocol`]); [`call_marker`] tells it which plugin method was running when a worker died.

pub mod answers;
pub mod bisect;
pub mod call_marker;
pub mod canonical;
pub mod cell;
pub mod config;
pub mod exit;
pub mod files;
pub mod hash;
pub mod jobs;
pub mod judging;
pub mod plugin;
pub mod protocol;
pub mod runtime;
pub mod sanitize;
pub mod signals;
pub mod sources;
pub mod stages;
mod supervision;
pub mod wire;

pub use stages::outputs;
pub use supervision::Supervision;
