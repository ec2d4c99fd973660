//! Generation with the real plugins on the shared parity fixtures.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test ends where something is missing, and says what it passes over"
)]

mod dynamics;
mod fixtures;
mod laws;
mod perplexity;
mod setting;
mod steering;
mod zoo;
