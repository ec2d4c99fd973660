//! Tokenizers, decoding and chat templates.
