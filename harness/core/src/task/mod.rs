//! Questions with a number for an answer: how they are put, how answers are read, and how often
//! they are right.
//!
//! A question goes through [`preset::Preset::render`], the reply through [`preset::Preset::reply`]
//! and [`answer::extract`], and the counts of right answers through
//! [`crate::stats::wilson_interval`] and [`accuracy::paired`].

pub mod accuracy;
pub mod answer;
pub mod preset;
pub mod question;
