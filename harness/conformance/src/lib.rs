//! Whether what this project and its plugins compute is right.
//!
//! [`golden`] compares with what reference implementations recorded; [`check`] tests plugins
//! against the laws of their kinds. Both are jobs of a worker, and both go through the same engine
//! code as every bench.

pub mod check;
pub mod golden;
