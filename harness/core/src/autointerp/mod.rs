//! Automatic interpretation of latents (PROTOCOL §5): which windows of text stand for a latent, and
//! how well a judge that has read some of them tells the others apart.
//!
//! [`LatentTracker`] sees the activations of one latent row by row and keeps what the windows need
//! and no more; [`mod@reference`] finds the same windows by keeping everything, and is what the
//! tracker is tested against. [`Activity`] hands what an SAE gives to the trackers of its latents.

mod activity;
mod draw;
mod histogram;
mod label;
mod peaks;
mod places;
pub mod reference;
mod rules;
mod score;
#[cfg(test)]
mod tests;
mod tracker;
mod window;

pub use activity::{Activity, BadCode, Codes, LabelCounts};
pub use histogram::Histogram;
pub use label::{Agreement, best_latent};
pub use places::Places;
pub use rules::{Origin, RulesError, WindowRules};
pub use score::{RandomWindows, accuracy, is_positive, n_correct};
pub use tracker::LatentTracker;
pub use window::{ActWindow, Split};
