//! `harness slurm`: a bench on a Slurm cluster. The store says what is done; Slurm is given work
//! and never asked.

mod job_number;
mod options;
mod script;
mod status;
mod submission;
mod submit;
mod time;
mod tools;

use clap::{Args, Subcommand};

use crate::failure::Failure;

/// Run a bench on a Slurm cluster
#[derive(Args, Debug)]
pub struct SlurmArgs {
    #[command(subcommand)]
    command: SlurmCommand,
}

#[derive(Subcommand, Debug)]
enum SlurmCommand {
    /// Submit the missing cells of a bench as a job array, and a job that makes the tables
    Submit(Box<submit::SubmitArgs>),
    /// How far the submissions of a folder of results are
    Status(status::StatusArgs),
}

pub fn run(args: &SlurmArgs) -> Result<u8, Failure> {
    match &args.command {
        SlurmCommand::Submit(args) => submit::run(args),
        SlurmCommand::Status(args) => status::run(args),
    }
}
