//! Building host, worker and plugins, and running what was built.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::libtorch::{self, Libtorch};
use crate::workspace::{Workspace, become_command, succeed};

/// Which cargo profile to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Optimised, in target/release.
    Release,
    /// Quick to build and slow to run, in target/debug.
    Dev,
}

/// Members that are no part of the product.
const NOT_PRODUCT: [&str; 5] = [
    "xtask",
    "harness-zoo",
    "harness-perf",
    "harness-tests",
    "harness-fuzz",
];

/// Builds host, worker and every plugin library.
///
/// # Errors
/// When libtorch cannot be had or cargo fails.
pub fn product(ws: &Workspace, profile: Profile) -> Result<Libtorch> {
    let found = libtorch::ensure(ws)?;
    let mut cargo = build_with(ws, profile, None);
    // stdout belongs to what runs afterwards; cargo writes to stderr.
    succeed(&mut cargo, "cargo build")?;
    Ok(found)
}

/// `cargo build` of the product, and of one member beside it. A member built by itself would have
/// its dependencies with other features, and all of them would be compiled once more.
pub fn build_with(ws: &Workspace, profile: Profile, member: Option<&str>) -> Command {
    let mut cargo = ws.cargo();
    cargo.args(["build", "--workspace"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    for other in NOT_PRODUCT.iter().filter(|other| Some(**other) != member) {
        cargo.args(["--exclude", other]);
    }
    cargo
}

/// Builds, then becomes `harness` with these arguments, in the user's folder.
///
/// # Errors
/// When the build fails or `harness` cannot be started.
pub fn run_harness(ws: &Workspace, first: Option<&str>, rest: &[OsString]) -> Result<ExitCode> {
    product(ws, Profile::Release)?;
    let mut harness = ws.command(ws.target.join("release/harness"));
    harness.args(first).args(rest);
    become_command(&mut harness)
}

/// Builds the zoo's maker, then becomes it.
///
/// # Errors
/// When the build fails or it cannot be started.
pub fn run_zoo(ws: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    libtorch::ensure(ws)?;
    let mut cargo = build_with(ws, Profile::Release, Some("harness-zoo"));
    succeed(cargo.args(["--bin", "harness-zoo"]), "cargo build")?;
    let mut zoo = ws.command(ws.target.join("release/harness-zoo"));
    zoo.args(args).current_dir(&ws.root);
    become_command(&mut zoo)
}
