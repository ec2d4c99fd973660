use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    CellRecord, Store, StoreError,
    keys::{entries, is_temporary, read_file},
};
use crate::claims;

/// What may be taken out of a store without losing a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rubbish {
    /// Temporary files, and claims, of processes that were killed.
    Temporary,
    /// Damaged files that were put aside, of cells and of replies.
    Quarantine,
    /// Second results of finished cells and second replies to a request.
    Conflicts,
    /// Cells that failed and have no output: they are run again anyway.
    Failed,
}

/// A file that may be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removable {
    pub path: PathBuf,
    pub bytes: u64,
    pub what: Rubbish,
}

impl Store {
    /// Files of one kind that may be removed, in order. Temporary files count when they are older
    /// than `age`: younger ones may belong to a process that is still writing. Done and open cells
    /// are never among them.
    ///
    /// # Errors
    /// When a folder or a cell cannot be read.
    pub fn removable(&self, what: Rubbish, age: Duration) -> Result<Vec<Removable>, StoreError> {
        let paths = match what {
            Rubbish::Temporary => self.stray_files(age)?,
            Rubbish::Quarantine => self.aside("quarantine")?,
            Rubbish::Conflicts => self.aside("conflicts")?,
            Rubbish::Failed => {
                let mut failed = Vec::new();
                for key in self.keys()? {
                    let path = self.cell_path(&key);
                    if failed_there(&key, &path)? {
                        failed.push(path);
                    }
                }
                failed
            }
        };
        let sized = paths.into_iter().map(|path| Removable {
            bytes: fs::metadata(&path).map_or(0, |meta| meta.len()),
            path,
            what,
        });
        Ok(sized.collect())
    }

    /// Remove a file that [`Store::removable`] named; `false` when it has gone, or has become a
    /// result in the meantime.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, file: &Removable) -> Result<bool, StoreError> {
        let fail = |source| StoreError::CannotWrite {
            path: file.path.clone(),
            source,
        };
        let removed = match file.what {
            Rubbish::Failed => remove_failed(&file.path),
            Rubbish::Temporary | Rubbish::Quarantine | Rubbish::Conflicts => {
                fs::remove_file(&file.path).map(|()| true)
            }
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.map_err(fail),
        }
    }

    /// Temporary files that a process left behind, older than `age`: younger ones may belong to a
    /// process that is still writing.
    fn stray_files(&self, age: Duration) -> Result<Vec<PathBuf>, StoreError> {
        let mut found = Vec::new();
        sweep(self.dir(), age, 0, &mut found)?;
        found.extend(claims::left_behind(self.dir(), age)?);
        Ok(found)
    }

    /// Files that were put aside, of cells and of replies.
    fn aside(&self, folder: &str) -> Result<Vec<PathBuf>, StoreError> {
        let mut files = entries(&self.dir().join(folder))?;
        files.extend(entries(&self.dir().join("replies").join(folder))?);
        let paths = files.into_iter().map(|(path, _)| path);
        Ok(paths.filter(|path| path.is_file()).collect())
    }
}

fn sweep(
    dir: &Path,
    age: Duration,
    depth: usize,
    found: &mut Vec<PathBuf>,
) -> Result<(), StoreError> {
    for (path, name) in entries(dir)? {
        // What goes while we look is no concern of ours.
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            // cells/xx is the deepest folder of a store.
            if depth < 2 {
                sweep(&path, age, depth + 1, found)?;
            }
        } else if is_temporary(&name)
            && meta
                .modified()
                .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|d| d > age))
        {
            found.push(path);
        }
    }
    Ok(())
}

/// Whether the file of a cell holds a failure and no output.
fn failed_there(key: &str, path: &Path) -> Result<bool, StoreError> {
    let bytes = read_file(path)?;
    let record = bytes.and_then(|bytes| CellRecord::from_bytes(key, &bytes).ok());
    Ok(record.is_some_and(|record| record.output.is_none()))
}

/// A result may take the failure's place at any moment, so the file is moved aside, looked at, and
/// put back when it is one.
fn remove_failed(path: &Path) -> io::Result<bool> {
    let key = path.file_stem().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{key}.tmp"));
    fs::rename(path, &aside)?;
    let is_failed = CellRecord::from_bytes(&key, &fs::read(&aside)?)
        .is_ok_and(|record| record.output.is_none());
    if !is_failed {
        match fs::hard_link(&aside, path) {
            // The same result was stored once more.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
    }
    fs::remove_file(&aside)?;
    Ok(is_failed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Access, Lookup, Provenance};
    use harness_contract::{
        cell::Cell,
        protocol::{Failure, FailureKind},
        stages::ScoreParams,
    };

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn only_old_temporary_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Write).unwrap();
        let folder = dir.path().join("cells/ab");
        fs::create_dir_all(&folder).unwrap();
        for name in [".old.tmp", ".new.tmp", "kept.json", "mine.tmp"] {
            fs::write(folder.join(name), "x").unwrap();
        }
        for name in [".old.tmp", "kept.json", "mine.tmp"] {
            let file = fs::File::options()
                .write(true)
                .open(folder.join(name))
                .unwrap();
            file.set_modified(SystemTime::now() - 2 * DAY).unwrap();
        }
        let old = store.removable(Rubbish::Temporary, DAY).unwrap();
        let paths: Vec<&Path> = old.iter().map(|file| file.path.as_path()).collect();
        assert_eq!(paths, [folder.join(".old.tmp")]);
        assert!(store.remove(&old[0]).unwrap() && !old[0].path.exists());
        for name in [".new.tmp", "kept.json", "mine.tmp"] {
            assert!(folder.join(name).is_file(), "{name}");
        }
    }

    fn cell(i: u32) -> Cell {
        Cell::new(
            ScoreParams {
                resamples: i,
                ..ScoreParams::default()
            },
            vec![],
        )
        .unwrap()
    }

    fn fail(store: &Store, i: u32) {
        let failure = Failure::new(FailureKind::Plugin, "it panicked");
        store
            .put_failed(&cell(i), failure, Provenance::default())
            .unwrap();
    }

    #[test]
    fn each_kind_is_removed_only_when_named_and_results_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Write).unwrap();
        let put = |i: u32, value: f64| {
            store
                .put_done(&cell(i), &value, Provenance::default())
                .unwrap()
        };
        put(1, 0.1);
        put(1, 0.2);
        fail(&store, 2);
        put(3, 0.3);
        fs::write(store.cell_path(&cell(3).key), "half").unwrap();
        assert!(matches!(
            store.lookup(&cell(3).key).unwrap(),
            Lookup::Damaged { .. }
        ));
        let kinds = [
            Rubbish::Temporary,
            Rubbish::Quarantine,
            Rubbish::Conflicts,
            Rubbish::Failed,
        ];
        let count = || kinds.map(|kind| store.removable(kind, DAY).unwrap().len());
        assert_eq!(count(), [0, 1, 1, 1]);
        for (i, left) in [(1, [0, 0, 1, 1]), (2, [0, 0, 0, 1]), (3, [0, 0, 0, 0])] {
            for file in store.removable(kinds[i], DAY).unwrap() {
                assert!(file.bytes > 0 && store.remove(&file).unwrap(), "{file:?}");
                assert!(!store.remove(&file).unwrap(), "{file:?}");
            }
            assert_eq!(count(), left);
        }
        assert_eq!(store.output::<f64>(&cell(1).key).unwrap(), 0.1);
        assert_eq!(store.keys().unwrap(), [cell(1).key]);
    }

    #[test]
    fn open_cells_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Write).unwrap();
        fail(&store, 1);
        let listed = store.removable(Rubbish::Failed, DAY).unwrap();
        let failure = Failure::new(FailureKind::JudgeUnanswered, "1 question is open");
        store
            .put_open(&cell(1), json!(0.5), failure, Provenance::default())
            .unwrap();
        assert!(store.removable(Rubbish::Failed, DAY).unwrap().is_empty());
        assert!(!store.remove(&listed[0]).unwrap());
        let there = store.available::<f64>(&cell(1).key).unwrap().unwrap();
        assert_eq!((there.output, there.is_whole), (0.5, false));
    }

    /// Between being listed and being removed, a failed cell may be run again by another process.
    #[test]
    fn a_failure_that_has_become_a_result_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Write).unwrap();
        fail(&store, 1);
        let listed = store.removable(Rubbish::Failed, DAY).unwrap();
        store
            .put_done(&cell(1), &0.5, Provenance::default())
            .unwrap();
        assert!(!store.remove(&listed[0]).unwrap());
        assert_eq!(store.output::<f64>(&cell(1).key).unwrap(), 0.5);
        let left = fs::read_dir(listed[0].path.parent().unwrap()).unwrap();
        assert_eq!(left.count(), 1);
    }
}
