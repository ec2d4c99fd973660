//! One file a command.

mod argv;
pub mod bench;
pub mod compare;
pub mod config;
pub mod doctor;
pub mod gc;
pub mod generate;
pub mod golden;
pub mod inspect;
pub mod list;
pub mod merge;
pub mod plugins;
pub mod report;
pub mod run_cells;
pub mod slurm;
pub mod status;
pub mod train;
pub mod verify;
pub mod zoo;

use std::path::Path;

use harness_contract::exit;
use harness_store::{Access, Store};

use crate::{args::Command, failure::Failure};

/// Run a command.
///
/// # Errors
/// Why it could not be done, with its exit code.
pub fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Bench(args) => bench::run(&args),
        Command::Config(args) => config::run(&args),
        Command::RunCells(args) => run_cells::run(&args),
        Command::Slurm(args) => slurm::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::List(args) => list::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Gc(args) => gc::run(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Golden(args) => golden::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Plugins(args) => plugins::run(&args),
        Command::Zoo(args) => zoo::run(&args),
    }
}

/// A folder that holds results; another is neither made nor touched.
fn existing_store(dir: &Path, access: Access) -> Result<Store, Failure> {
    let store = Store::open(dir, Access::Read)?;
    if !store.is_store() {
        let message = format!("{} holds no results", dir.display());
        return Err(Failure::new(exit::NOTHING, message)
            .hint("give the folder that a bench wrote to, e.g. results/runs/table2"));
    }
    match access {
        Access::Read => Ok(store),
        Access::Write => Ok(Store::open(dir, Access::Write)?),
    }
}
