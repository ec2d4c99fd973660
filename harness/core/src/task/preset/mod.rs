//! How a question is put to a model: named, versioned presets, and what they make of a question.
//!
//! A preset's whole text belongs to the key of what was computed with it. A change of wording is a
//! new version.

mod render;
mod shipped;
mod shots;

pub use render::{Preset, Rendered, Role, Shot, Style, Turn};
pub use shipped::{PRESETS, UnknownPreset, preset, presets};
