//! plugin-lexical
