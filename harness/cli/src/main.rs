//! `harness`: flags, messages, supervision and exit codes.
//!
//! It links no torch and opens no plugin. What needs either is done by `harness-worker` processes that it starts,
//! feeds over pipes and survives ([`worker`]). Each command is a file under [`cmd`].
//!
//! Results go to standard output, everything else to standard error; exit codes are those of [`harness_plan::exit`].

mod args;
mod cmd;
mod failure;
mod memory;
mod output;
mod plugins;
mod png;
mod progress;
mod root;
mod worker;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match cmd::run(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.code)
        }
    }
}
