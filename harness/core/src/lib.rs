//! Pure maths and records: no I/O, no torch, no plugins.
//!
//! Everything here is a function of its arguments. Sums are accumulated in f64 and ratios are formed once, from summed
//! moments.

pub mod rng;
