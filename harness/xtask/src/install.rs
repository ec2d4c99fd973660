//! `cargo xtask install`: the product in a folder of its own, and `harness` on the path.
//!
//! The folder repeats the repository's layout (programs in target/release, manifests in plugins, benches in benchmarks), so the
//! programs find their files and libtorch in the same way in both.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::compile::{self, Profile};
use crate::libtorch;
use crate::workspace::Workspace;

/// Folders copied as they are: benches, embedded models and printed numbers; then what `harness plugins new` builds against.
const FOLDERS: [&str; 7] = [
    "benchmarks/tables",
    "benchmarks/data",
    "benchmarks/zoo",
    "results/paper",
    "harness/abi",
    "harness/sdk",
    "plugins/template",
];
const FILES: [&str; 4] = ["Cargo.toml", "LICENSE", "LICENSE-MIT", "LICENSE-APACHE"];
/// What makes the benchmark crates; installed are their data.
const SOURCES: &[&str] = &["src", "tests", "Cargo.toml"];
const PROGRAMS: [&str; 2] = ["harness", "harness-worker"];

/// Builds and installs.
///
/// # Errors
/// When the build fails, a part of the product is missing, or the destination cannot be written.
pub fn install(ws: &Workspace, args: &[String]) -> Result<ExitCode> {
    let root = match args {
        [] => default_root()?,
        [flag, dir] if flag == "--root" => PathBuf::from(dir),
        [one] if one.starts_with("--root=") => PathBuf::from(one.trim_start_matches("--root=")),
        _ => bail!(
            "`cargo xtask install` takes --root DIR or nothing, found `{}`",
            args.join(" ")
        ),
    };
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
    let release = ws.target.join("release");
    for program in PROGRAMS {
        copy_file(
            &release.join(program),
            &into.join("target/release").join(program),
        )?;
    }
    for manifest in plugin_manifests(&ws.root.join("plugins"))? {
        let within = manifest
            .strip_prefix(&ws.root)
            .context("a manifest outside the repository")?;
        copy_file(&manifest, &into.join(within))?;
        let library = library_name(&manifest)?;
        copy_file(
            &release.join(&library),
            &into.join("target/release").join(&library),
        )?;
    }
    for folder in FOLDERS {
        let from = ws.root.join(folder);
        if from.is_dir() {
            let skip = if folder.starts_with("benchmarks/") {
                SOURCES
            } else {
                &[]
            };
            copy_folder(&from, &into.join(folder), skip)?;
        }
    }
    for file in FILES {
        copy_file(&ws.root.join(file), &into.join(file))?;
    }
    // The programs look for libtorch at ../../.libtorch/lib from where they lie; LD_LIBRARY_PATH still wins.
    libtorch::link_to(&found.folder, &into.join(".libtorch"))
}

/// Every plugin.toml under a folder, at most three levels deep (the depth the host searches).
fn plugin_manifests(plugins: &Path) -> Result<Vec<PathBuf>> {
    fn search(folder: &Path, levels: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
        let manifest = folder.join("plugin.toml");
        if manifest.is_file() {
            found.push(manifest);
            return Ok(());
        }
        for entry in fs::read_dir(folder)?.flatten() {
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if levels > 0 && !hidden && entry.file_name() != "target" && entry.path().is_dir() {
                search(&entry.path(), levels - 1, found)?;
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    search(plugins, 3, &mut found)
        .with_context(|| format!("{} cannot be read", plugins.display()))?;
    found.sort();
    Ok(found)
}

fn library_name(manifest: &Path) -> Result<String> {
    let text = fs::read_to_string(manifest)
        .with_context(|| format!("{} cannot be read", manifest.display()))?;
    let table: toml::Table = text
        .parse()
        .with_context(|| format!("{} is not TOML", manifest.display()))?;
    match table.get("library").and_then(toml::Value::as_str) {
        Some(name) => Ok(name.to_owned()),
        None => bail!("{} names no library", manifest.display()),
    }
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("{} cannot be written", parent.display()))?;
    }
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))
}

/// Copies a folder without the entries named in `skip` at its top.
fn copy_folder(from: &Path, to: &Path, skip: &[&str]) -> Result<()> {
    for entry in fs::read_dir(from)
        .with_context(|| format!("{} cannot be read", from.display()))?
        .flatten()
    {
        let name = entry.file_name();
        if name.to_str().is_some_and(|n| skip.contains(&n)) {
            continue;
        }
        let (path, target) = (entry.path(), to.join(name));
        if path.is_dir() {
            copy_folder(&path, &target, &[])?;
        } else {
            copy_file(&path, &target)?;
        }
    }
    Ok(())
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
    libtorch::link_to(program, link)
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
    fn manifests_are_found_to_the_depth_the_host_searches() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["models/dream", "template", "a/b/c/d", "target/x", ".hidden"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(
                dir.path().join(folder).join("plugin.toml"),
                "library = \"libx.so\"",
            )
            .unwrap();
        }
        let found = plugin_manifests(dir.path()).unwrap();
        assert_eq!(
            found,
            [
                dir.path().join("models/dream/plugin.toml"),
                dir.path().join("template/plugin.toml")
            ]
        );
        assert_eq!(library_name(&found[0]).unwrap(), "libx.so");
    }

    #[test]
    fn benchmark_folders_are_copied_without_their_crates() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("zoo"), dir.path().join("copy"));
        for file in [
            "src/main.rs",
            "Cargo.toml",
            "dream/config.json",
            "dream/src/deep.txt",
        ] {
            let path = from.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        copy_folder(&from, &to, SOURCES).unwrap();
        assert!(to.join("dream/config.json").is_file() && to.join("dream/src/deep.txt").is_file());
        assert!(!to.join("src").exists() && !to.join("Cargo.toml").exists());
    }

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
