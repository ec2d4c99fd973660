//! Benches, stages, cells, the store.
