//! Integration tests: the built programs from outside.

#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test ends where something is missing, and says what it passes over"
)]

mod answers;
mod autointerp;
mod bad_inputs;
mod bench;
mod cells;
mod cli;
mod compare;
mod decoding;
mod doctor;
mod fidelity;
mod golden;
mod pages;
mod paid;
mod plugins;
mod predict;
mod real_inputs;
mod shards;
mod slurm;
mod store;
mod support;
mod topics;
mod train;
