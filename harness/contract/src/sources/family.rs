//! What is known of the families of models before a plugin is asked: it decides forecasts and
//! warnings. When cells are run, what the adapter states counts.

use harness_core::schedule::{dream_transfer_counts, llada_transfer_counts};

/// Smallest time point of Dream's schedule.
const DREAM_EPS: f32 = 1e-3;

/// A family of models.
struct Family {
    /// `model_type` of its configurations.
    model_type: &'static str,
    /// What it calls the list of its blocks.
    blocks: &'static str,
    /// Matrices of the feed-forward layer of a block.
    n_ff: u32,
}

const DREAM: &str = "Dream";
const FAMILIES: [Family; 5] = [
    of("gpt2", "h", 2),
    of("llama", "layers", 3),
    of("qwen2", "layers", 3),
    of(DREAM, "layers", 3),
    of("llada", "blocks", 3),
];

const fn of(model_type: &'static str, blocks: &'static str, n_ff: u32) -> Family {
    Family {
        model_type,
        blocks,
        n_ff,
    }
}

fn known(model_type: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|of| of.model_type == model_type)
}

/// Matrices of the feed-forward layer of a block: 3 with a gate, as nearly all models have, else 2.
pub(super) fn n_ff(model_type: &str) -> u32 {
    known(model_type).map_or(3, |family| family.n_ff)
}

/// What a family calls the list of its blocks, where it is known.
pub(super) fn blocks(model_type: &str) -> Option<&'static str> {
    known(model_type).map(|family| family.blocks)
}

/// Whether a diffusion model's logits at a position score the next one although it reads both
/// sides.
pub(super) fn is_shifted(model_type: &str) -> bool {
    model_type == DREAM
}

/// Of `new` masked positions, those that each of `steps` denoising steps reveals.
pub(super) fn revealed(model_type: &str, new: usize, steps: usize) -> Vec<usize> {
    match model_type {
        DREAM => dream_transfer_counts(new, steps, DREAM_EPS),
        _ => llada_transfer_counts(new, steps),
    }
}
