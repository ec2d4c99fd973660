//! Deterministic text generator.
