//! plugin-gpt2
