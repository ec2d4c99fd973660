//! `harness`: flags, messages, supervision and exit codes.
//!
//! It links no torch and opens no plugin. What needs either is done by `harness-worker` processes
//! that [`harness_supervise`] starts, feeds over pipes and survives. Each command is a file under
//! [`cmd`].
//!
//! Results go to standard output, everything else to standard error; exit codes are those of
//! [`harness_contract::exit`].

mod args;
mod cmd;
mod command;
mod failure;
mod folders;
mod output;
mod plugins;
mod png;
mod progress;
mod root;

use std::process::ExitCode;

use clap::{Parser, error::ErrorKind};

fn main() -> ExitCode {
    let run = match command::Cli::try_parse() {
        Ok(cli) => command::run(cli.command),
        Err(error) if error.kind() == ErrorKind::InvalidUtf8 => Err(args::not_text()),
        Err(error) => error.exit(),
    };
    match run {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.code)
        }
    }
}
