//! SAE sets.
