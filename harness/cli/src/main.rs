//! `harness`: flags, messages, supervision and exit codes.
//!
//! It links no torch and opens no plugin. What needs either is done by `harness-worker` processes that it starts,
//! feeds over pipes and survives ([`worker`]). Each command is a file under [`cmd`].
//!
//! Results go to standard output, everything else to standard error; exit codes are those of [`harness_plan::exit`].

mod args;
mod cmd;
mod failure;
mod output;
mod png;
mod progress;
mod root;
mod signals;
mod worker;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

fn main() -> ExitCode {
    // What was given on the command line and what is a default is known to the matches alone.
    let matches = args::Cli::command().get_matches();
    let cli = args::Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cmd::run(cli.command, &matches) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.code)
        }
    }
}
