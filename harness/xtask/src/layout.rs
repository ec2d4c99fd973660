//! The product in a folder of its own, as `install` and `bundle` make it.
//!
//! The folder repeats the repository's layout (programs in target/release, manifests in plugins,
//! benches in benchmarks), so the programs find their files and libtorch in the same way in all
//! three.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// The program that people call, from the folder's root.
pub const PROGRAM: &str = "target/release/harness";
/// The folder of the embedded models and their SAEs, from the folder's root.
const MODELS: &str = "benchmarks/zoo";
/// Folders copied as they are: benches, embedded models and printed numbers; then what
/// `harness plugins new` builds against.
const FOLDERS: [&str; 7] = [
    "benchmarks/tables",
    "benchmarks/data",
    MODELS,
    "results/paper",
    "harness/abi",
    "harness/sdk",
    "plugins/template",
];
const FILES: [&str; 4] = ["Cargo.toml", "LICENSE", "LICENSE-MIT", "LICENSE-APACHE"];
/// What makes the benchmark crates; only their data belongs to the product.
const SOURCES: &[&str] = &["src", "tests", "Cargo.toml"];
const PROGRAMS: [&str; 2] = ["harness", "harness-worker"];

/// Whether the embedded models and SAEs belong to the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Models {
    /// They are copied.
    Embedded,
    /// They stay out.
    None,
}

/// Copies the built product into a folder, and returns where its programs and libraries lie there.
///
/// # Errors
/// When a part of the product is missing, or the folder cannot be written.
pub fn fill(ws: &Workspace, into: &Path, models: Models) -> Result<Vec<PathBuf>> {
    let mut binaries: Vec<String> = PROGRAMS.map(str::to_owned).to_vec();
    for manifest in plugin_manifests(&ws.root.join("plugins"))? {
        let within = manifest
            .strip_prefix(&ws.root)
            .context("a manifest outside the repository")?;
        copy_file(&manifest, &into.join(within))?;
        binaries.push(library_name(&manifest)?);
    }
    let built = ws.target.join("release");
    let place = into.join("target/release");
    for name in &binaries {
        copy_file(&built.join(name), &place.join(name))?;
    }
    for folder in FOLDERS {
        let from = ws.root.join(folder);
        if from.is_dir() && (folder != MODELS || models == Models::Embedded) {
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
    Ok(binaries.iter().map(|name| place.join(name)).collect())
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

/// Copies a folder without the entries named in `skip` at its top, and without hidden ones: those
/// are left by work on the folder.
fn copy_folder(from: &Path, to: &Path, skip: &[&str]) -> Result<()> {
    for entry in fs::read_dir(from)
        .with_context(|| format!("{} cannot be read", from.display()))?
        .flatten()
    {
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|n| skip.contains(&n) || n.starts_with('.'))
        {
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
            ".training/left.txt",
        ] {
            let path = from.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        copy_folder(&from, &to, SOURCES).unwrap();
        assert!(to.join("dream/config.json").is_file() && to.join("dream/src/deep.txt").is_file());
        for left_out in ["src", "Cargo.toml", ".training"] {
            assert!(!to.join(left_out).exists(), "{left_out}");
        }
    }
}
