//! `cargo xtask`: what a clone needs before and around plain cargo.
//!
//! It fetches libtorch, builds host and plugins, runs benches from a fresh clone, installs,
//! bundles, tests and tidies. It is the first thing a newcomer compiles, so it depends on little
//! and never on tch.

mod bundle;
mod compile;
mod docs;
mod fuzz;
mod golden;
mod help;
mod install;
mod layout;
mod libtorch;
mod prerequisites;
mod python;
mod testing;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};
use workspace::Workspace;

/// Exit code for a command line that cannot be understood.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<ExitCode> {
    let Some((command, rest)) = args.split_first() else {
        eprint!("{}", help::TEXT);
        return Ok(ExitCode::from(EXIT_USAGE));
    };
    // Commands that hand their arguments on also hand on `--help`.
    let passes_on = matches!(command.as_str(), "bench" | "run" | "harness" | "zoo");
    let before_dashes = rest.iter().take_while(|a| *a != "--");
    let wants_help = before_dashes.clone().any(|a| a == "-h" || a == "--help");
    if matches!(command.as_str(), "help" | "-h" | "--help") || (wants_help && !passes_on) {
        print!("{}", help::TEXT);
        return Ok(ExitCode::SUCCESS);
    }
    let ws = Workspace::find()?;
    match command.as_str() {
        "setup" => {
            no_arguments(command, rest)?;
            let found = libtorch::ensure(&ws)?;
            eprintln!("{found}");
            Ok(ExitCode::SUCCESS)
        }
        "build" => {
            let profile = compile::profile_argument(rest)?;
            compile::product(&ws, profile)?;
            Ok(ExitCode::SUCCESS)
        }
        "bench" => compile::run_harness(&ws, Some("bench"), rest),
        "run" | "harness" => compile::run_harness(&ws, None, rest),
        "zoo" => compile::run_zoo(&ws, rest),
        "golden" => golden::regenerate(&ws, rest),
        "install" => install::install(&ws, rest),
        "bundle" => bundle::bundle(&ws, rest),
        "test" => testing::run(&ws, rest),
        "fuzz" => fuzz::run(&ws, rest),
        "tidy" => tidy::run(&ws, rest),
        "docs" => docs::run(&ws, rest),
        other => {
            let hint = help::nearest(other)
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            eprintln!(
                "error: there is no `cargo xtask {other}`{hint}\n\n{}",
                help::TEXT
            );
            Ok(ExitCode::from(EXIT_USAGE))
        }
    }
}

fn no_arguments(command: &str, rest: &[String]) -> Result<()> {
    if let Some(extra) = rest.first() {
        bail!("`cargo xtask {command}` takes no arguments, found `{extra}`");
    }
    Ok(())
}
