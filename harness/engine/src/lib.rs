//! Runs cells: loads plugins, drives models segment by segment, trains SAEs.
//!
//! Nothing here knows a model family, an SAE layout or a judge: those are plugins, reached through
//! the handles of [`plugin`].

pub mod data;
pub mod eval;
pub mod golden;
pub mod plugin;
pub mod text;
pub mod device;
pub mod jobs;
pub mod run;
