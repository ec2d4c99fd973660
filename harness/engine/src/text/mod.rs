//! Text in and out of a checkpoint: its tokenizer and its chat template.
//!
//! [`TextCodec::load`] reads a Hugging Face folder and makes of it what transformers 5 does:
//! `class` says by which rules text is cut, `tokens` which tokens other files than
//! tokenizer.json bring, `decode` how parts of a text are turned into text again.
//!
//! The vocabulary comes from `tokenizer.json`, or, for the byte-level BPE families that ship none
//! (Dream), from `vocab.json` + `merges.txt` + `added_tokens.json`; either way one and the same
//! description is checked against [`TokenizerLimits`] *before* anything is built from it, because
//! the tokenizer library panics on some files and exhausts memory on others.

mod build;
mod chat;
mod class;
mod codec;
mod decode;
mod error;
mod folder;
mod limits;
mod parts;
mod pieces;
mod special;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_reference;
mod tokens;

pub use chat::{ChatMessage, ChatTemplate};
pub use codec::TextCodec;
pub use error::TextError;
pub use limits::TokenizerLimits;
pub use special::{ExpectedIds, SpecialTokens};
