//! `cargo xtask install`: the product in a folder of its own, and `harness` on the path.
//!
//! The folder has the layout of `layout`, and a link to the libtorch that the programs were built
//! with.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::compile::{self, Profile};
use crate::layout::{self, Models};
use crate::libtorch;
use crate::workspace::Workspace;

/// Builds, and installs under `root`, which is `~/.local` unless given.
///
/// # Errors
/// When the build fails, a part of the product is missing, or the destination cannot be written.
pub fn install(ws: &Workspace, root: Option<PathBuf>) -> Result<ExitCode> {
    let root = root.map_or_else(default_root, Ok)?;
    let root = std::path::absolute(&root).context("the current folder cannot be read")?;
    let found = compile::product(ws, Profile::Release)?;

    let share = root.join("share/dlm-harness");
    let fresh = root.join(format!("share/.dlm-harness.{}", std::process::id()));
    let made = fill(ws, &fresh, &found).and_then(|()| replace(&fresh, &share));
    if fresh.exists() {
        let _ = fs::remove_dir_all(&fresh);
    }
    made?;
    let link = root.join("bin/harness");
    link_program(&share.join("target/release/harness"), &link)?;
    try_it(ws, &link)?;

    println!("installed {}", link.display());
    println!("plugins in {}", share.join("plugins").display());
    eprintln!(
        "\nhint: the plugins are found without --plugins after\n    export HARNESS_PLUGINS={}",
        share.join("plugins").display()
    );
    let bin = root.join("bin");
    let on_path =
        env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir == bin));
    if !on_path {
        eprintln!(
            "hint: {0} is not on PATH; add it with\n    export PATH=\"{0}:$PATH\"",
            bin.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn default_root() -> Result<PathBuf> {
    match env::var_os("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Ok(PathBuf::from(home).join(".local")),
        None => bail!("HOME is not set; say where to install with --root DIR"),
    }
}

fn fill(ws: &Workspace, into: &Path, found: &libtorch::Libtorch) -> Result<()> {
    layout::fill(ws, into, Models::Embedded)?;
    // The programs look for libtorch at ../../.libtorch/lib from where they lie; LD_LIBRARY_PATH
    // still wins.
    libtorch::point(&into.join(".libtorch"), &found.folder)
}

/// Puts the new folder where the old one was; the old one is kept until the new one stands.
fn replace(fresh: &Path, share: &Path) -> Result<()> {
    let context = || format!("{} cannot be put in place", share.display());
    let old = fresh.with_extension("old");
    let had_old = fs::symlink_metadata(share).is_ok();
    if had_old {
        fs::rename(share, &old).with_context(context)?;
    }
    if let Err(error) = fs::rename(fresh, share) {
        if had_old {
            let _ = fs::rename(&old, share);
        }
        return Err(error).with_context(context);
    }
    if had_old {
        let _ = fs::remove_dir_all(&old);
    }
    Ok(())
}

fn link_program(program: &Path, link: &Path) -> Result<()> {
    if fs::symlink_metadata(link).is_ok_and(|meta| !meta.is_symlink()) {
        bail!(
            "{} is there already and is not a link; move it away, then run this again",
            link.display()
        );
    }
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("{} cannot be written", parent.display()))?;
    }
    libtorch::point(link, program)
}

fn try_it(ws: &Workspace, program: &Path) -> Result<()> {
    let status = ws
        .command(program)
        .arg("--help")
        .stdout(Stdio::null())
        .status();
    if !status
        .with_context(|| format!("{} does not start", program.display()))?
        .success()
    {
        bail!("{} --help fails", program.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_installation_replaces_the_first_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (share, fresh) = (dir.path().join("share"), dir.path().join(".share.1"));
        fs::create_dir(&share).unwrap();
        fs::write(share.join("stale"), "").unwrap();
        fs::create_dir(&fresh).unwrap();
        fs::write(fresh.join("new"), "").unwrap();
        replace(&fresh, &share).unwrap();
        assert!(share.join("new").is_file() && !share.join("stale").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_program_of_the_users_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("harness");
        fs::write(&link, "mine").unwrap();
        assert!(link_program(Path::new("elsewhere"), &link).is_err());
        assert_eq!(fs::read_to_string(&link).unwrap(), "mine");
    }
}
