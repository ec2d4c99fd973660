//! From logits to tokens: temperature, filters, the draw, and what decoding orders read of a
//! distribution.
//!
//! [`choose`] is what runs call. [`choose_by_tensors`], [`choose_by_sort`], [`filter_logits`] and
//! [`noisy_logits`] are the same arithmetic written with whole tensors, for any device; the
//! row-by-row form for the CPU and both of them are tested against each other.

mod choose;
mod params;
mod row;
mod tensors;
#[cfg(test)]
mod tests;
mod top;

pub use choose::{Choices, choose};
pub use params::{Needed, Sampling, SamplingRule};
pub use tensors::{Packed, choose_by_sort, choose_by_tensors, filter_logits, noisy_logits};
