//! Top-K sparse autoencoders: reading and writing their layouts, running them, training them.

mod error;
pub mod formats;
mod plugin;
mod sae;
mod tensors;
pub mod train;
mod weights;

pub use error::{Result, SaeError};
pub use formats::{Stored, detect, load, save};
pub use plugin::TopK;
pub use sae::TopKSae;
/// Layout of an SAE's files.
pub use sae_folder::Layout as Format;
pub use weights::{InputNorm, NonFinite, SaeMeta, TopKWeights};

harness_sdk::export_plugin! {
    id: "topk",
    torch: "2.11.0",
    components: [
        sae "topk" => TopK: "Top-K autoencoders; reads saelens, sparsify, dictionary_learning, openai; writes saelens, dictionary_learning",
        sae "topk-paper-code" => TopK: "Top-K autoencoders encoded without subtracting b_dec, as the authors do outside training and loss",
    ]
}
