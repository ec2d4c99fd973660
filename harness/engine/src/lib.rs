//! What cells and jobs are run with: plugins are loaded, models driven segment by segment.
//!
//! Nothing here knows a model family, an SAE layout or a judge: those are plugins, reached through
//! the handles of [`plugin`].

pub mod data;
pub mod device;
pub mod dynamics;
pub mod error;
pub mod eval;
pub mod generate;
pub mod jobs;
pub mod plugin;
pub mod prompt;
pub mod steps;
pub mod text;
