use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Store, StoreError};

/// Entries of the folder of replies that are no replies.
pub(super) const OF_REPLIES: [&str; 5] =
    ["ledger.json", "lock", "batches", "quarantine", "conflicts"];

/// What lies in a folder laid out as `ab/abcd….json`, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shards {
    /// Keys that have a file where the file of that key belongs.
    pub keys: Vec<String>,
    /// Temporary files: of a process that is writing, or of one that was killed.
    pub temporary: Vec<PathBuf>,
    /// Everything else.
    pub others: Vec<PathBuf>,
}

impl Shards {
    /// Read a folder; one that is not there is empty. Entries of the folder itself that are named
    /// in `known` are passed over.
    pub fn read(dir: &Path, known: &[&str]) -> Result<Shards, StoreError> {
        let mut found = Shards::default();
        for (path, name) in entries(dir)? {
            if known.contains(&name.as_str()) {
                continue;
            }
            if !path.is_dir() {
                found.sort_in(path, &name);
                continue;
            }
            for (path, file) in entries(&path)? {
                match file.strip_suffix(".json") {
                    Some(key) if is_key(key) && key.starts_with(&name) && name.len() == 2 => {
                        found.keys.push(key.to_owned());
                    }
                    _ => found.sort_in(path, &file),
                }
            }
        }
        Ok(found)
    }

    fn sort_in(&mut self, path: PathBuf, name: &str) {
        match is_temporary(name) && !path.is_dir() {
            true => self.temporary.push(path),
            false => self.others.push(path),
        }
    }
}

impl Store {
    /// Keys of all cells that have a file, sorted. A file whose name is no key is none of them:
    /// [`Store::verify`] names it.
    ///
    /// # Errors
    /// When a folder cannot be read; a store without cells has no keys.
    pub fn keys(&self) -> Result<Vec<String>, StoreError> {
        Shards::read(&self.dir().join("cells"), &[]).map(|shards| shards.keys)
    }

    /// Whether the folder holds, or is to hold, results: nothing is removed from or copied out of a
    /// folder that does not.
    pub fn is_store(&self) -> bool {
        ["store.json", "cells", "replies"]
            .iter()
            .any(|name| self.dir().join(name).exists())
    }
}

/// Whether a name has the form of a key: 64 lower-case hex digits.
fn is_key(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether a name is one that files have before they are whole.
pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}

/// Paths and names in a folder, sorted; none where it does not exist.
pub(super) fn entries(dir: &Path) -> Result<Vec<(PathBuf, String)>, StoreError> {
    let fail = |source| StoreError::CannotRead {
        path: dir.to_owned(),
        source,
    };
    let mut found = Vec::new();
    match fs::read_dir(dir) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(fail)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                found.push((entry.path(), name));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(error)),
    }
    found.sort();
    Ok(found)
}

/// A file's bytes; `None` where there is none, or none any more.
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::CannotRead {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;

    #[test]
    fn only_files_in_their_place_are_keys() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Write).unwrap();
        assert!(store.keys().unwrap().is_empty());
        let (one, two) = (
            format!("ab{}", "0".repeat(62)),
            format!("cd{}", "1".repeat(62)),
        );
        let cells = dir.path().join("cells");
        for path in [
            format!("cd/{two}.json"),
            format!("ab/{one}.json"),
            format!("ab/{two}.json"),
            format!("ab/{}.json", one.to_uppercase()),
            "ab/.x.tmp".to_owned(),
            "note.txt".to_owned(),
        ] {
            let path = cells.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        assert_eq!(store.keys().unwrap(), [one, two]);
        let shards = Shards::read(&cells, &["note.txt"]).unwrap();
        assert_eq!(
            (shards.temporary.len(), shards.others.len()),
            (1, 2),
            "{shards:?}"
        );
    }
}
