//! plugin-llama
