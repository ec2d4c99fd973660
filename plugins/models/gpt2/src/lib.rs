//! GPT-2, which scores the perplexity of generated text: learned positions, layer norm, GELU, in
//! most files a tied head.
//!
//! - Names come with or without the prefix `transformer.`; the buffers `h.N.attn.bias` hold a
//!   causal mask and are ignored.
//! - Projections are stored as [in, out].
//! - `activation_function`, `scale_attn_weights` and `scale_attn_by_inverse_layer_idx` are
//!   followed; an activation that is not known is refused by name.
//! - Logits at position i score position i + 1. The context is `n_positions` tokens; longer texts
//!   are refused here and cut by the caller.

use decoder::Family;
use decoder::adapter::{Adapter, Rules};

/// The rules of this family.
pub struct Gpt2;

impl Rules for Gpt2 {
    const FAMILY: Family = Family::Gpt2;
}

harness_sdk::export_plugin! {
    id: "gpt2",
    torch: "2.11.0",
    components: [ model "gpt2" => Adapter<Gpt2>: "GPT-2: autoregressive, scores perplexity" ]
}
