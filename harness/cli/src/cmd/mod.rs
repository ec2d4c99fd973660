//! One file a command.

pub mod bench;
pub mod compare;
pub mod generate;
pub mod golden;
pub mod inspect;
pub mod list;
pub mod plugins;
pub mod report;
pub mod status;
pub mod train;
pub mod zoo;

use crate::{args::Command, failure::Failure};

/// Run a command.
///
/// # Errors
/// Why it could not be done, with its exit code.
pub fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Bench(args) => bench::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::List(args) => list::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Golden(args) => golden::run(&args),
        Command::Plugins(args) => plugins::run(&args),
        Command::Zoo(args) => zoo::run(&args),
    }
}
