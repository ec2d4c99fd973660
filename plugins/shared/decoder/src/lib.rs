//! One decoder-only transformer.
