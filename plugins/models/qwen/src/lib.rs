//! Qwen2 and Qwen2.5: causal, biases on the query, key and value projections, grouped key heads.
//!
//! - Logits at position i score position i + 1.
//! - With padding, positions count valid tokens, so that left-padded prompts generate as if alone.
//! - Rotary frequencies are plain or scaled (linear, dynamic, llama3, yarn) as in transformers 5.
//! - Sliding-window attention is refused where it would apply: the public 7B models leave it off.
//! - Small models tie the head to the embedding (`tie_word_embeddings`); a stored head that differs
//!   from it is used all the same.

use decoder::Family;
use decoder::adapter::{Adapter, Rules};

/// The rules of this family.
pub struct Qwen2;

impl Rules for Qwen2 {
    const FAMILY: Family = Family::Qwen2;
}

harness_sdk::export_plugin! {
    id: "qwen",
    torch: "2.11.0",
    components: [ model "qwen2" => Adapter<Qwen2>: "Qwen2 and Qwen2.5: autoregressive" ]
}
