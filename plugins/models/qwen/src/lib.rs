//! plugin-qwen
