//! The Top-K plugin from outside: the layouts that it reads and writes, and its training.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test ends where something is missing, and says what it passes over"
)]

mod bad_files;
mod common;
mod golden;
mod round_trip;
mod training;
