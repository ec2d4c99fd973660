//! `harness config`: the settings a bench would run with.

mod render;
mod show;
mod shown;

use clap::{Args, Command, Subcommand};

use crate::failure::Failure;

/// Settings of benches.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Which value each setting has after bench file, profile, row, options and environment; runs
    /// nothing
    Show(show::ShowArgs),
}

/// Run a command; `program` is the whole command line.
///
/// # Errors
/// As the bench itself would refuse its settings.
pub fn run(args: &ConfigArgs, program: Command) -> Result<u8, Failure> {
    let ConfigCommand::Show(show) = &args.command;
    show::run(show, program)
}
