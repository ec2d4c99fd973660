//! Integration tests: the built programs from outside.

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
