//! `cargo xtask`: what a clone needs before and around plain cargo.
//!
//! It fetches libtorch, builds host and plugins, runs benches from a fresh clone, installs,
//! bundles, tests and tidies. It is the first thing a newcomer compiles, so it depends on little
//! and never on tch.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "it is a program for a person at a terminal"
)]

mod bundle;
mod compile;
mod docs;
mod fuzz;
mod golden;
mod install;
mod layout;
mod libtorch;
mod lines;
mod prerequisites;
mod python;
mod source;
mod testing;
mod tidy;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use compile::Profile;
use workspace::Workspace;

const ABOUT: &str = "\
cargo xtask: set-up, build, tests and checks of this repository

The shortest way to a result, from a fresh clone:
    cargo xtask bench table2 --plugins ./plugins";

const ENVIRONMENT: &str = "\
Environment
  LIBTORCH=DIR              use this libtorch 2.11.0 (a folder with lib and include)
  LIBTORCH_USE_PYTORCH=1    use the torch 2.11.0 of the Python in reach; wins over LIBTORCH
  HARNESS_CACHE=DIR         where libtorch is kept; otherwise $XDG_CACHE_HOME/dlm-harness or
                            ~/.cache/dlm-harness

Needed: Rust, a C++ compiler and, unless one of the first two variables is set, python3 with pip.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = ABOUT, after_help = ENVIRONMENT)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch libtorch 2.11.0 once into the user's cache and link it as .libtorch
    ///
    /// After that plain `cargo build` and `cargo test` work too.
    Setup,
    /// Set up, then build host, worker and every plugin into target/release
    ///
    /// `cargo build` takes what this command does not.
    Build {
        /// Build quickly and unoptimised, into target/debug
        #[arg(long, conflicts_with = "release")]
        dev: bool,
        /// Build optimised, which is the default
        #[arg(long, hide = true)]
        release: bool,
    },
    /// Build, then `harness bench NAME …` with its exit code
    #[command(disable_help_flag = true)]
    Bench(PassedOn),
    /// Build, then `harness …` with its exit code
    #[command(disable_help_flag = true, visible_alias = "harness")]
    Run(PassedOn),
    /// Build, then put the product into D/share/dlm-harness and a link to it at D/bin/harness
    Install {
        /// The folder D; ~/.local unless given
        #[arg(long, value_name = "D")]
        root: Option<PathBuf>,
    },
    /// Build, then pack one archive (.tar.xz) that runs without Rust
    ///
    /// It runs on Linux on x86-64 beside Python's torch 2.11.0.
    Bundle(bundle::BundleArgs),
    /// Build, then run every test; the last line is `N passed, M failed, K skipped`
    Test(testing::TestArgs),
    /// Check what the compiler does not: floors, circles, sizes, words, plugin manifests
    Tidy {
        /// Record the hash of the plugin interface anew first
        #[arg(long)]
        fix: bool,
    },
    /// Build, then write the pages of docs/reference that come from the code
    Docs {
        /// Write nothing; fail where a page is not what the code says
        #[arg(long)]
        check: bool,
    },
    /// Count each crate's lines of code, without comments and tests
    Lines(lines::LinesArgs),
    /// Run the readers of files from outside against a fuzzer
    ///
    /// The exit code is 1 where something is found.
    Fuzz(fuzz::FuzzArgs),
    /// Rebuild the embedded models (tens of minutes); arguments go to harness-zoo
    #[command(disable_help_flag = true)]
    Zoo(PassedOn),
    /// Compute results/golden anew, after a change that is meant to change numbers
    Golden,
}

/// Arguments that another program reads, its `--help` included.
#[derive(Debug, clap::Args)]
struct PassedOn {
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    args: Vec<OsString>,
}

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return explain(&error),
    };
    match Workspace::find().and_then(|ws| dispatch(&ws, line.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints help or what is wrong with the command line. The exit code is 2 where no command is
/// known by its name and 1 where a command's arguments are wrong, as it has always been.
fn explain(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    match error.kind() {
        _ if printed.is_err() => ExitCode::FAILURE,
        ErrorKind::DisplayHelp => ExitCode::SUCCESS,
        ErrorKind::InvalidSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            ExitCode::from(2)
        }
        _ => ExitCode::FAILURE,
    }
}

fn dispatch(ws: &Workspace, command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup => {
            eprintln!("{}", libtorch::ensure(ws)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Build { dev, .. } => {
            let profile = if dev { Profile::Dev } else { Profile::Release };
            compile::product(ws, profile)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(passed) => compile::run_harness(ws, Some("bench"), &passed.args),
        Command::Run(passed) => compile::run_harness(ws, None, &passed.args),
        Command::Zoo(passed) => compile::run_zoo(ws, &passed.args),
        Command::Golden => golden::regenerate(ws),
        Command::Install { root } => install::install(ws, root),
        Command::Bundle(args) => bundle::bundle(ws, &args),
        Command::Test(args) => testing::run(ws, args),
        Command::Fuzz(args) => fuzz::run(ws, &args),
        Command::Lines(args) => lines::run(ws, &args),
        Command::Tidy { fix } => tidy::run(ws, fix),
        Command::Docs { check } => docs::run(ws, check),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let words = std::iter::once("xtask").chain(line.split_whitespace());
        CommandLine::try_parse_from(words).map(|line| line.command)
    }

    #[test]
    fn the_command_line_is_consistent() {
        <CommandLine as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_command_that_was_mistyped_is_suggested() {
        for (typed, meant) in [("buid", "build"), ("tide", "tidy"), ("set-up", "setup")] {
            let error = parse(typed).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidSubcommand);
            assert!(error.to_string().contains(&format!("'{meant}'")), "{error}");
        }
    }

    #[test]
    fn what_a_program_of_ours_reads_is_passed_on_with_its_help() {
        for line in ["bench table2 --out x --help", "harness list --help"] {
            let (Command::Bench(passed) | Command::Run(passed)) = parse(line).unwrap() else {
                panic!("{line} is read as another command");
            };
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            assert_eq!(passed.args, words);
        }
        assert_eq!(
            parse("test --help").unwrap_err().kind(),
            ErrorKind::DisplayHelp
        );
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (line, named) in [
            ("build --fast", "--fast"),
            ("bundle --models", "--models"),
            ("fuzz --seconds soon", "soon"),
            ("fuzz --jobs 0", "--jobs"),
            ("fuzz --list --corpus", "--corpus"),
            ("golden now", "now"),
        ] {
            let message = parse(line).unwrap_err().to_string();
            assert!(message.contains(named), "{line}: {message}");
        }
    }
}
