//! Means with their uncertainty. Sums are accumulated in f64; ratios are formed once, from sums.

mod bootstrap;
mod interval;
mod moments;

pub use bootstrap::{Bootstrap, Resampled, cluster_bootstrap, mean_bootstrap};
pub use interval::{Interval, student_interval, wilson_interval};
pub use moments::Moments;
