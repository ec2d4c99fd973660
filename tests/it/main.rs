//! Integration tests: the built programs from outside.

mod bench;
mod cli;
mod compare;
mod golden;
mod plugins;
mod support;
mod topics;
mod train;
