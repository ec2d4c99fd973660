//! `harness plugins`: list, describe, check and make plugins.

mod check;
mod info;
mod list;
mod loaded;
mod lock;
mod new;

use clap::{Args, Subcommand};

use crate::failure::Failure;

#[derive(Args, Debug)]
pub struct PluginsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Load plugins and list what they offer; refused ones with the reason
    List(list::ListArgs),
    /// Everything about one plugin or component
    Info(info::InfoArgs),
    /// Run the laws of each kind against plugins, one process a test
    Check(check::CheckArgs),
    /// Write down what plugins are, for --locked
    Lock(lock::LockArgs),
    /// Make a crate for a new plugin
    New(new::NewArgs),
}

pub fn run(args: &PluginsArgs) -> Result<u8, Failure> {
    match &args.what {
        What::List(args) => list::run(args),
        What::Info(args) => info::run(args),
        What::Check(args) => check::run(args),
        What::Lock(args) => lock::run(args),
        What::New(args) => new::run(args),
    }
}
