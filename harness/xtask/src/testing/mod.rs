//! `cargo xtask test`: every test, and one closing line that says what became of them.

mod summary;

use std::io::{BufRead, BufReader, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::compile::{self, Profile};
use crate::libtorch;
use crate::workspace::{Workspace, exit_code, succeed};
use summary::Reader;

/// Builds, runs the tests and prints the closing line `N passed, M failed, K skipped` last, on
/// stdout.
///
/// A failed test binary does not keep the next from running. The exit code is cargo's.
///
/// # Errors
/// When the product or the tests do not build (no closing line is printed then).
pub fn run(ws: &Workspace, args: TestArgs) -> Result<ExitCode> {
    let arguments = Arguments::divide(args);
    if arguments.needs_product() {
        compile::product(ws, Profile::Release)?;
    } else {
        libtorch::ensure(ws)?;
    }
    // Compiling on its own keeps cargo's progress bar on the terminal; what follows is read through
    // a pipe.
    succeed(
        ws.cargo().args(arguments.cargo()).arg("--no-run"),
        "building the tests",
    )?;

    let (reader, writer) = std::io::pipe().context("no pipe")?;
    let mut cargo = ws.cargo();
    cargo
        .args(arguments.cargo())
        .arg("--no-fail-fast")
        .arg("--")
        .args(arguments.libtest());
    // One pipe for both keeps the order in which a binary starts and ends.
    cargo
        .stdout(writer.try_clone().context("no pipe")?)
        .stderr(writer);
    let mut child = cargo.spawn().context("cargo test cannot be started")?;
    drop(cargo); // holds the pipe's other end

    let mut summary = Reader::default();
    let mut out = std::io::stdout().lock();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("the output of cargo test was lost")?;
        let text = String::from_utf8_lossy(&line);
        if summary.line(&text) {
            writeln!(out, "{text}").context("stdout was closed")?;
        }
    }
    let status = child.wait().context("cargo test was lost")?;
    let totals = summary.finish(status.success());
    writeln!(out, "\n{totals}").context("stdout was closed")?;
    let honest = status.success() && totals.failed == 0;
    Ok(if honest {
        ExitCode::SUCCESS
    } else if status.success() {
        ExitCode::FAILURE
    } else {
        exit_code(status)
    })
}

/// What follows `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// What `cargo test` takes: `-p harness-core` tests one crate, a name the tests that hold it;
    /// after `--` what libtest takes
    #[arg(value_name = "ARGS", allow_hyphen_values = true)]
    args: Vec<String>,
    #[arg(last = true, hide = true)]
    after_dashes: Vec<String>,
}

/// The user's arguments, divided at `--`.
struct Arguments {
    cargo: Vec<String>,
    libtest: Vec<String>,
}

impl Arguments {
    /// The parser divides at dashes that come first; later ones it takes for one of the arguments.
    fn divide(given: TestArgs) -> Self {
        let (mut cargo, mut libtest) = (given.args, given.after_dashes);
        let dashes = cargo.iter().position(|a| a == "--").unwrap_or(cargo.len());
        libtest.extend(cargo.split_off(dashes).into_iter().skip(1));
        Self { cargo, libtest }
    }

    fn names_a_package(&self) -> bool {
        let names = |a: &String| {
            a.starts_with("--package") || (a.starts_with("-p") && !a.starts_with("--"))
        };
        self.cargo.iter().any(names)
    }

    /// Only the integration crate runs host, worker and plugins as built; one other crate on its
    /// own is tested without them.
    fn needs_product(&self) -> bool {
        !self.names_a_package() || self.cargo.iter().any(|a| a.ends_with("harness-tests"))
    }

    fn cargo(&self) -> Vec<String> {
        let mut all = vec!["test".to_owned(), "--release".to_owned()];
        if !self.names_a_package() {
            all.push("--workspace".to_owned());
        }
        all.extend(self.cargo.iter().cloned());
        all
    }

    /// `--show-output` makes libtest hand on what a passing test wrote, which is where `skipped:`
    /// lines stand.
    fn libtest(&self) -> Vec<String> {
        let mut all = self.libtest.clone();
        if !all
            .iter()
            .any(|a| a == "--show-output" || a == "--nocapture" || a == "--list")
        {
            all.push("--show-output".to_owned());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: TestArgs,
    }

    fn split(list: &[&str]) -> Arguments {
        let line = ["test"].iter().chain(list);
        Arguments::divide(<Line as clap::Parser>::try_parse_from(line).unwrap().args)
    }

    #[test]
    fn the_whole_workspace_unless_a_package_is_named() {
        assert_eq!(split(&[]).cargo(), ["test", "--release", "--workspace"]);
        assert_eq!(
            split(&["-p", "xtask", "name"]).cargo(),
            ["test", "--release", "-p", "xtask", "name"]
        );
        assert_eq!(
            split(&["--package=xtask"]).cargo(),
            ["test", "--release", "--package=xtask"]
        );
    }

    #[test]
    fn the_product_is_built_for_everything_and_for_the_integration_tests() {
        assert!(split(&[]).needs_product() && split(&["-p", "harness-tests"]).needs_product());
        assert!(!split(&["-p", "harness-core"]).needs_product());
    }

    #[test]
    fn what_follows_the_dashes_goes_to_libtest() {
        let both = split(&["name", "--", "--test-threads", "1"]);
        assert_eq!(both.cargo(), ["test", "--release", "--workspace", "name"]);
        assert_eq!(both.libtest(), ["--test-threads", "1", "--show-output"]);
        assert_eq!(split(&["--", "--nocapture"]).libtest(), ["--nocapture"]);
    }
}
