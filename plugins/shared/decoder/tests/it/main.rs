//! The decoder from outside: its laws, its checkpoints, and the parity fixtures.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test ends where something is missing, and says what it passes over"
)]

mod checkpoints;
mod common;
mod configurations;
mod fixtures;
mod laws;
mod transformers;
