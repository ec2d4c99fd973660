//! From logits to tokens: temperature, filters, the draw, and what decoding orders read of a distribution.
//!
//! [`choose`] is what runs call. [`filter_logits`], [`noisy_logits`] and [`choose_by_tensors`] are the same arithmetic written
//! with whole tensors: it runs on any device, and the row-by-row form for the CPU is tested against it.

mod choose;
mod params;
mod row;
mod tensors;
#[cfg(test)]
mod tests;

pub use choose::{Choices, choose};
pub use params::{Needed, Sampling, SamplingRule};
pub use tensors::{choose_by_tensors, filter_logits, noisy_logits};
