//! Dream-v0 (Base and Instruct): Qwen2's block with bidirectional attention, trained by masked
//! diffusion.
//!
//! - Weights and sizes are laid out as Qwen2's; `model_type` is "Dream". Its remote code is never
//!   run.
//! - Logits at position i score position i + 1 (`logit_offset` 1), a heritage of the autoregressive
//!   model it started from.
//! - With padding, positions count valid tokens and valid queries see valid keys only. The
//!   reference masks the rows of padding queries as well; nothing is defined there, so here they
//!   see the valid keys and stay finite.
//! - The mask token is read from config.json (generation_config.json leaves it null).

use decoder::adapter::{Adapter, Rules};
use decoder::{DecoderConfig, Family};

/// The rules of this family.
pub struct Dream;

impl Rules for Dream {
    const FAMILY: Family = Family::Dream;

    fn check(config: &DecoderConfig) -> Result<(), String> {
        match config.special.mask {
            Some(_) => Ok(()),
            None => Err("mask_token_id is missing; a diffusion model cannot be sampled or scored without it".to_owned()),
        }
    }
}

harness_sdk::export_plugin! {
    id: "dream",
    torch: "2.11.0",
    components: [ model "Dream" => Adapter<Dream>: "Dream-v0: bidirectional masked diffusion in Qwen2's block, logits shifted by one" ]
}
