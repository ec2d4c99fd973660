//! Means with their uncertainty. Sums are accumulated in f64; ratios are formed once, from sums.

mod estimate;
mod interval;
mod moments;

pub use estimate::{Bootstrap, Estimate};
pub use interval::{Interval, student_interval, wilson_interval};
pub use moments::Moments;
