//! The command line: the commands, and what each of them calls.

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    cmd::{
        bench, compare, config, doctor, gc, generate, golden, inspect, list, merge, plugins,
        report, run_cells, slurm, status, train, verify, zoo,
    },
    failure::Failure,
};

/// Evaluates sparse autoencoders on diffusion language models.
#[derive(Parser, Debug)]
#[command(
    name = "harness",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Start here:
  harness bench table2 --plugins ./plugins

Exit codes:
  0 done   2 usage   3 configuration   4 nothing to do   5 some cells failed   10 tables differ
  20 bad input   21 plugin refused   22 device   30 judge cannot be asked   31 budget used up
  75 interrupted, the same command goes on   110 cannot write"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a bench and print its table beside the paper's
    Bench(Box<bench::BenchArgs>),
    /// Which value each setting of a bench has, and where it comes from
    Config(config::ConfigArgs),
    /// Run a share of the cells of a bench, for job arrays and the like
    RunCells(run_cells::RunCellsArgs),
    /// Run a bench on a Slurm cluster
    Slurm(slurm::SlurmArgs),
    /// What there is: tables, models, SAE sets, plugin components
    List(list::ListArgs),
    /// What SAEs or a checkpoint say of themselves: layers, k, training, EV, sizes, time
    Inspect(inspect::InspectArgs),
    /// What a folder of results holds
    Status(status::StatusArgs),
    /// Check every file of a folder of results
    Verify(verify::VerifyArgs),
    /// Remove what no result needs from a folder of results
    Gc(gc::GcArgs),
    /// Copy the cells of other folders of results into one
    Merge(merge::MergeArgs),
    /// Pages and examples made from a run
    Report(report::ReportArgs),
    /// Compare two tables of results
    Compare(compare::CompareArgs),
    /// Continue a text
    Generate(generate::GenerateArgs),
    /// Train SAEs for a grid of layers, k and policies from one stream of model passes
    Train(Box<train::TrainArgs>),
    /// Compare models, SAEs and samplers with parity fixtures
    Golden(golden::GoldenArgs),
    /// What this machine can run, what is wrong with it and what to do
    Doctor(doctor::DoctorArgs),
    /// List, describe, check and make plugins
    Plugins(plugins::PluginsArgs),
    /// The embedded models' text
    Zoo(zoo::ZooArgs),
}

/// Run a command.
///
/// # Errors
/// Why it could not be done, with its exit code.
pub fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Bench(args) => bench::run(&args),
        Command::Config(args) => config::run(&args, Cli::command()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
