//! plugin-openai
