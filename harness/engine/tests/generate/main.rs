//! Generation with the real plugins on the shared parity fixtures.

mod dynamics;
mod fixtures;
mod laws;
mod perplexity;
mod setting;
mod steering;
mod zoo;
