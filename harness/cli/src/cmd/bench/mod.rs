//! `harness bench`: from a bench file to a table.

mod args;
mod command;
mod crew;
mod describe;
mod dry_run;
mod report;
mod run;
pub mod zoo_text;

pub use args::BenchArgs;
pub use command::run;
