//! Text in and out of a checkpoint: its tokenizer and its chat template.
//!
//! [`TextCodec::load`] reads a Hugging Face folder. The vocabulary comes from `tokenizer.json`, or, for the byte-level
//! BPE families that ship none (Dream), from `vocab.json` + `merges.txt` + `added_tokens.json`; either way one and the same
//! description is checked against [`TokenizerLimits`] *before* anything is built from it, because the tokenizer library panics
//! on some files and exhausts memory on others.

mod chat;
mod codec;
mod error;
mod folder;
mod limits;
mod parts;
mod special;
#[cfg(test)]
mod tests;

pub use chat::{ChatMessage, ChatTemplate};
pub use codec::TextCodec;
pub use error::TextError;
pub use limits::TokenizerLimits;
pub use special::{ExpectedIds, SpecialTokens};
