//! LLaMA 3 and 3.1: causal, no biases, grouped key heads.
//!
//! - Logits at position i score position i + 1.
//! - 3.1 divides the low rotary frequencies for its longer context (`rope_scaling` of type llama3); other scalings are
//!   refused by name.
//! - With padding, positions count valid tokens, so that left-padded prompts generate as if alone.
//! - Several ids may end a text; generation_config.json adds to those of config.json.

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
