//! Pure maths and records: no I/O, no torch, no plugins.
//!
//! Everything here is a function of its arguments. Sums are accumulated in f64 and ratios are
//! formed once, from summed moments; a value that does not exist is `None`, never 0 or NaN.

pub mod autointerp;
pub mod corruption;
pub mod dtype;
pub mod dynamics;
pub mod ev;
pub mod fidelity;
pub mod grid;
pub mod layer;
pub mod loss;
pub mod measure;
pub mod policy;
pub mod record;
pub mod rng;
pub mod sae_id;
pub mod schedule;
pub mod stats;
pub mod steering;
pub mod suggest;
pub mod task;
pub mod twins;
pub mod units;
pub mod work;
