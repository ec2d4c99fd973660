//! Runs cells: loads plugins, drives models segment by segment.
//!
//! Nothing here knows a model family, an SAE layout or a judge: those are plugins, reached through
//! the handles of [`plugin`].

pub mod data;
pub mod device;
pub mod dynamics;
pub mod eval;
pub mod generate;
pub mod jobs;
pub mod plugin;
pub mod run;
mod steps;
pub mod text;
