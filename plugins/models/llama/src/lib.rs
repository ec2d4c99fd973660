//! LLaMA and what shares its classes: causal, grouped key heads, biases where the configuration has
//! them.
//!
//! - Logits at position i score position i + 1.
//! - Rotary frequencies are plain or scaled (linear, dynamic, llama3, yarn) as in transformers 5;
//!   longrope is refused by name.
//! - With padding, positions count valid tokens, so that left-padded prompts generate as if alone.
//! - Several ids may end a text; generation_config.json adds to those of config.json.
//! - A stored head that differs from the embedding is used, whatever `tie_word_embeddings` says.

use decoder::Family;
use decoder::adapter::{Adapter, Rules};

/// The rules of this family.
pub struct Llama;

impl Rules for Llama {
    const FAMILY: Family = Family::Llama;
}

harness_sdk::export_plugin! {
    id: "llama",
    torch: "2.11.0",
    components: [ model "llama" => Adapter<Llama>: "LLaMA 3 and 3.1: autoregressive" ]
}
