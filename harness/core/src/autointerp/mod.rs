//! Automatic interpretation of latents (PROTOCOL §5): which windows of text stand for a latent, and how well a judge that has read
//! some of them tells the others apart.

mod rules;
mod score;

pub use rules::{Origin, RulesError, WindowRules};
pub use score::{RandomWindows, accuracy, n_correct};
