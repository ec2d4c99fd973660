//! `harness config`: the settings a bench would run with.

mod render;
mod show;

use clap::{Args, Subcommand};

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
    Show(show::ShowArgs),
}

/// Run a command.
///
/// # Errors
/// As the bench itself would refuse its settings.
pub fn run(args: &ConfigArgs) -> Result<u8, Failure> {
    let ConfigCommand::Show(show) = &args.command;
    show::run(show)
}
