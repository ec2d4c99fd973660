//! Automatic interpretation of latents (PROTOCOL §5): which windows of text stand for a latent, and how well a judge that has read
//! some of them tells the others apart.

mod rules;

pub use rules::{Origin, RulesError, WindowRules};
