//! The plugin interface is a promise: a change of its source must be seen, and its version thought
//! about.
//!
//! `harness/abi/ABI.md` records a hash of `harness/abi/src`. It is compared only where that file
//! exists.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::finding::Finding;

/// The file that holds the record.
pub const RECORD: &str = "harness/abi/ABI.md";
const SOURCE: &str = "harness/abi/src";
/// What manifests of new plugins are made of.
const NEW: &str = "plugins/template/kinds/plugin.toml.txt";
const KEY: &str = "abi-src-sha256:";

/// Compares record and source.
///
/// # Errors
/// When either cannot be read.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let Ok(record) = fs::read_to_string(root.join(RECORD)) else {
        return Ok(Vec::new());
    };
    let now = hash_of(&root.join(SOURCE))?;
    let what = match recorded(&record) {
        Some(then) if then == now => return Ok(Vec::new()),
        Some(then) => {
            format!("the interface's source has changed: {KEY} is {then}, the source gives {now}")
        }
        None => format!("no line `{KEY} …`"),
    };
    let cure = "a change of layout needs a new minor version (something appended, with a default) or major version (anything else) of the interface and a line about it here; then `cargo xtask tidy --fix` records the source".to_owned();
    Ok(vec![Finding {
        place: RECORD.to_owned(),
        what,
        cure,
    }])
}

/// The text that `harness plugins new` makes manifests of, which no compiler reads, says the
/// version of the interface.
///
/// # Errors
/// When a file cannot be read.
pub fn check_new(root: &Path) -> Result<Vec<Finding>> {
    let (Ok(record), Ok(made)) = (
        fs::read_to_string(root.join(RECORD)),
        fs::read_to_string(root.join(NEW)),
    ) else {
        return Ok(Vec::new());
    };
    let version = record.lines().find_map(|line| {
        line.split_once("version ")
            .map(|(_, version)| version.trim())
    });
    let wanted = format!("abi = \"{}\"", version.unwrap_or_default());
    if made.lines().any(|line| line.trim() == wanted) {
        return Ok(Vec::new());
    }
    Ok(vec![Finding {
        place: NEW.to_owned(),
        what: format!("no line `{wanted}`, the version of {RECORD}"),
        cure: "new plugins are made of this text: raise its version with the interface's"
            .to_owned(),
    }])
}

/// Records the source as it is; `false` where nothing had to be written.
///
/// # Errors
/// When the source cannot be read or the record not written.
pub fn fix(root: &Path) -> Result<bool> {
    let path = root.join(RECORD);
    let Ok(record) = fs::read_to_string(&path) else {
        return Ok(false);
    };
    let now = hash_of(&root.join(SOURCE))?;
    if recorded(&record) == Some(now.as_str()) {
        return Ok(false);
    }
    fs::write(&path, with_hash(&record, &now))
        .with_context(|| format!("{RECORD} cannot be written"))?;
    Ok(true)
}

fn recorded(record: &str) -> Option<&str> {
    record
        .lines()
        .find_map(|line| line.trim().trim_matches('`').strip_prefix(KEY))
        .map(str::trim)
}

fn with_hash(record: &str, hash: &str) -> String {
    let is_ours = |line: &str| line.trim().trim_matches('`').starts_with(KEY);
    let fresh = format!("{KEY} {hash}");
    if !record.lines().any(is_ours) {
        return format!("{}\n\n{fresh}\n", record.trim_end());
    }
    record
        .lines()
        .map(|line| {
            if is_ours(line) {
                format!("{fresh}\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect()
}

/// SHA-256 over the names (from the folder, sorted) and contents of all Rust files, each with its
/// length.
fn hash_of(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(folder, &mut files).with_context(|| format!("{} cannot be read", folder.display()))?;
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let bytes =
            fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let name = file
            .strip_prefix(folder)
            .unwrap_or(&file)
            .to_string_lossy()
            .replace('\\', "/");
        hasher.update(format!("{name}\n{}\n", bytes.len()));
        hasher.update(&bytes);
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(SOURCE).join("inner")).unwrap();
        fs::write(dir.path().join(SOURCE).join("lib.rs"), "mod inner;").unwrap();
        fs::write(dir.path().join(SOURCE).join("inner/a.rs"), "struct A;").unwrap();
        dir
    }

    #[test]
    fn nothing_is_asked_where_there_is_no_record() {
        let dir = tree();
        assert_eq!(check(dir.path()).unwrap(), []);
        assert!(!fix(dir.path()).unwrap());
    }

    #[test]
    fn a_change_is_found_until_it_is_recorded() {
        let dir = tree();
        fs::write(dir.path().join(RECORD), "# The interface\n\nVersion 1.0.\n").unwrap();
        assert_eq!(check(dir.path()).unwrap().len(), 1);
        assert!(fix(dir.path()).unwrap());
        assert_eq!(check(dir.path()).unwrap(), []);
        assert!(!fix(dir.path()).unwrap());
        fs::write(dir.path().join(SOURCE).join("inner/a.rs"), "struct B;").unwrap();
        let finding = check(dir.path()).unwrap().remove(0);
        assert!(finding.what.contains("has changed") && finding.cure.contains("version"));
        assert!(fix(dir.path()).unwrap());
        let text = fs::read_to_string(dir.path().join(RECORD)).unwrap();
        assert_eq!(text.matches(KEY).count(), 1);
        assert!(text.starts_with("# The interface\n\nVersion 1.0.\n"));
    }

    #[test]
    fn manifests_of_new_plugins_say_the_version() {
        let dir = tree();
        let file = dir.path().join(NEW);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(
            dir.path().join(RECORD),
            "# The plugin interface, version 1.2\n",
        )
        .unwrap();
        fs::write(&file, "id = \"x\"\nabi = \"1.1\"\n").unwrap();
        let finding = check_new(dir.path()).unwrap().remove(0);
        assert!(finding.what.contains("abi = \"1.2\""), "{finding}");
        fs::write(&file, "abi = \"1.2\"\n").unwrap();
        assert_eq!(check_new(dir.path()).unwrap(), []);
    }

    #[test]
    fn a_moved_file_changes_the_hash() {
        let dir = tree();
        let source = dir.path().join(SOURCE);
        let before = hash_of(&source).unwrap();
        fs::rename(source.join("inner/a.rs"), source.join("inner/b.rs")).unwrap();
        assert_ne!(hash_of(&source).unwrap(), before);
    }
}
