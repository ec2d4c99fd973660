//! LLaDA (Base and Instruct): LLaMA's block with bidirectional attention under OLMo's names,
//! trained by masked diffusion.
//!
//! - Weights are `model.transformer.blocks.N.*`; `ff_proj` is the gate of the MLP, `up_proj` its
//!   other half, and `ff_out` both the MLP's way back (in a block) and the head (outside). Its
//!   remote code is never run.
//! - Logits at position i score position i (`logit_offset` 0).
//! - Positions run from 0 whether a token is padding or not, and padding keys are hidden from every
//!   query. The rotation is done in float32 in every dtype (`rope_full_precision`).
//! - The matrices have `embedding_size` rows, which may be more than the tokenizer's `vocab_size`.

use decoder::adapter::{Adapter, Rules};
use decoder::{DecoderConfig, Family};

/// The rules of this family.
pub struct Llada;

impl Rules for Llada {
    const FAMILY: Family = Family::Llada;

    fn check(config: &DecoderConfig) -> Result<(), String> {
        match config.special.mask {
            Some(_) => Ok(()),
            None => Err("mask_token_id is missing; a diffusion model cannot be sampled or scored without it".to_owned()),
        }
    }
}

harness_sdk::export_plugin! {
    id: "llada",
    torch: "2.11.0",
    components: [ model "llada" => Adapter<Llada>: "LLaDA: bidirectional masked diffusion in LLaMA's block, logits not shifted" ]
}
