//! Answers, metrics and numbers.
