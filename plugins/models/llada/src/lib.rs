//! plugin-llada
