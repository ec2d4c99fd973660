//! `harness config`: the settings a bench would run with.

mod render;
mod show;

use clap::{ArgMatches, Args, Subcommand};

use crate::failure::Failure;

/// Settings of benches.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Which value each setting has after bench file, profile, row, options and environment; runs nothing
    Show(Box<show::ShowArgs>),
}

/// Run a command; `matches` is the whole command line.
///
/// # Errors
/// As the bench itself would refuse its settings.
pub fn run(args: &ConfigArgs, matches: &ArgMatches) -> Result<u8, Failure> {
    let ConfigCommand::Show(show) = &args.command;
    let own = matches
        .subcommand_matches("config")
        .and_then(|config| config.subcommand_matches("show"));
    show::run(show, own)
}
