use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{CellRecord, Damage, Placing, Provenance, STORE_SCHEMA, write_whole};
use crate::{cell::Cell, exit, protocol::Failure, stages::Stage};

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only: nothing is created, moved or repaired.
    Read,
    /// Reading and writing.
    Write,
}

/// Results of cells on disk.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    access: Access,
}

#[derive(Serialize, Deserialize)]
struct StoreFile {
    schema: u32,
}

/// What the store knows of a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// Nothing.
    Missing,
    /// It is done.
    Done(Box<CellRecord>),
    /// It failed; it may be run again.
    Failed(Box<CellRecord>),
    /// Its file was damaged, and is out of the way when the store is open for writing: run it again.
    Damaged {
        /// Where the file is now.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
}

/// What became of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored.
    Stored,
    /// The same result was there already.
    Same,
    /// Another result was there already and stays; this one is kept beside it.
    Conflict {
        /// Where this one is.
        path: PathBuf,
    },
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be written.
    #[error("cannot write results to {}: {source}", path.display())]
    CannotWrite {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read results from {}: {source}", path.display())]
    CannotRead {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was written by a newer version.
    #[error("{} was written with schema {found}, this version writes {STORE_SCHEMA}; it can be read, choose another --out to write", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// A cell that is needed is not done.
    #[error("cell {key} is not done")]
    NotDone {
        /// The cell.
        key: String,
    },
    /// A cell's output is not what its stage leaves.
    #[error("the output of cell {key} is not what its stage leaves: {source}")]
    Output {
        /// The cell.
        key: String,
        /// What does not fit.
        source: serde_json::Error,
    },
}

impl StoreError {
    /// Exit code of a run that ends for this reason.
    pub const fn exit_code(&self) -> u8 {
        match self {
            StoreError::CannotWrite { .. } => exit::CANNOT_WRITE,
            StoreError::CannotRead { .. } => exit::BAD_INPUT,
            StoreError::Newer { .. } => exit::CONFIG,
            StoreError::NotDone { .. } | StoreError::Output { .. } => exit::UNEXPECTED,
        }
    }
}

impl Store {
    /// Open a store, creating it for [`Access::Write`]. Fails before any work when it cannot be written.
    ///
    /// # Errors
    /// When it is not a folder, cannot be written (or read), or was written by a newer version.
    pub fn open(dir: &Path, access: Access) -> Result<Store, StoreError> {
        let store = Store {
            dir: dir.to_owned(),
            access,
        };
        let schema_path = dir.join("store.json");
        let schema = match fs::read(&schema_path) {
            Ok(bytes) => serde_json::from_slice::<StoreFile>(&bytes)
                .ok()
                .map(|f| f.schema),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) if access == Access::Read => {
                return Err(StoreError::CannotRead {
                    path: dir.to_owned(),
                    source,
                });
            }
            Err(source) => {
                return Err(StoreError::CannotWrite {
                    path: dir.to_owned(),
                    source,
                });
            }
        };
        match (access, schema) {
            (Access::Read, _) => {
                fs::read_dir(dir).map_err(|source| StoreError::CannotRead {
                    path: dir.to_owned(),
                    source,
                })?;
            }
            (Access::Write, Some(found)) if found > STORE_SCHEMA => {
                return Err(StoreError::Newer {
                    path: dir.to_owned(),
                    found,
                });
            }
            // Written every time: this is also the proof that the store can be written.
            (Access::Write, _) => {
                let bytes = format!("{{\"schema\":{STORE_SCHEMA}}}\n");
                store.write(&schema_path, bytes.as_bytes(), Placing::Replace)?;
            }
        }
        Ok(store)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the file of a cell lies.
    pub fn cell_path(&self, key: &str) -> PathBuf {
        self.dir
            .join("cells")
            .join(key.get(..2).unwrap_or("xx"))
            .join(format!("{key}.json"))
    }

    /// What is known of a cell. A damaged file is moved to quarantine when the store is open for writing.
    ///
    /// # Errors
    /// When a file cannot be read or moved.
    pub fn lookup(&self, key: &str) -> Result<Lookup, StoreError> {
        let path = self.cell_path(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lookup::Missing),
            Err(source) => return Err(StoreError::CannotRead { path, source }),
        };
        match CellRecord::from_bytes(key, &bytes) {
            Ok(record) if record.failure.is_none() => Ok(Lookup::Done(Box::new(record))),
            Ok(record) => Ok(Lookup::Failed(Box::new(record))),
            Err(damage) => {
                let path = if self.access == Access::Write {
                    self.quarantine(key, &path)?
                } else {
                    path
                };
                Ok(Lookup::Damaged { path, damage })
            }
        }
    }

    /// Whether a cell is done.
    ///
    /// # Errors
    /// As [`Store::lookup`].
    pub fn is_done(&self, key: &str) -> Result<bool, StoreError> {
        Ok(matches!(self.lookup(key)?, Lookup::Done(_)))
    }

    /// Output of a done cell.
    ///
    /// # Errors
    /// When it is not done, or its output is not of this type.
    pub fn output<T: DeserializeOwned>(&self, key: &str) -> Result<T, StoreError> {
        let Lookup::Done(record) = self.lookup(key)? else {
            return Err(StoreError::NotDone {
                key: key.to_owned(),
            });
        };
        let output = record.output.unwrap_or(Value::Null);
        serde_json::from_value(output).map_err(|source| StoreError::Output {
            key: key.to_owned(),
            source,
        })
    }

    /// Store the output of a cell.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_done<T: Serialize>(
        &self,
        cell: &Cell,
        output: &T,
        provenance: Provenance,
    ) -> Result<Put, StoreError> {
        let encode = |source| StoreError::Output {
            key: cell.key.clone(),
            source,
        };
        let output = serde_json::to_value(output).map_err(encode)?;
        let record = CellRecord::new(cell, version_of(cell), Ok(output), provenance);
        let bytes = record.to_bytes().map_err(encode)?;
        let path = self.cell_path(&cell.key);
        match self.write(&path, &bytes, Placing::IfAbsent) {
            Ok(()) => return Ok(Put::Stored),
            Err(StoreError::CannotWrite { source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        match self.lookup(&cell.key)? {
            Lookup::Done(first) if first.output == record.output => Ok(Put::Same),
            Lookup::Done(_) => {
                let path = self.free_path("conflicts", &cell.key);
                self.write(&path, &bytes, Placing::Replace)?;
                Ok(Put::Conflict { path })
            }
            Lookup::Missing | Lookup::Failed(_) | Lookup::Damaged { .. } => {
                self.write(&path, &bytes, Placing::Replace)?;
                Ok(Put::Stored)
            }
        }
    }

    /// Store the failure of a cell; a result that is there stays.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_failed(
        &self,
        cell: &Cell,
        failure: Failure,
        provenance: Provenance,
    ) -> Result<(), StoreError> {
        if self.is_done(&cell.key)? {
            return Ok(());
        }
        let record = CellRecord::new(cell, version_of(cell), Err(failure), provenance);
        let bytes = record.to_bytes().map_err(|source| StoreError::Output {
            key: cell.key.clone(),
            source,
        })?;
        self.write(&self.cell_path(&cell.key), &bytes, Placing::Replace)
    }

    /// Write a file of the run (a table, a manifest) into the store's folder, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let path = self.dir.join(name);
        self.write(&path, bytes, Placing::Replace)?;
        Ok(path)
    }

    fn write(&self, path: &Path, bytes: &[u8], placing: Placing) -> Result<(), StoreError> {
        write_whole(path, bytes, placing).map_err(|source| StoreError::CannotWrite {
            path: path.to_owned(),
            source,
        })
    }

    fn quarantine(&self, key: &str, path: &Path) -> Result<PathBuf, StoreError> {
        let to = self.free_path("quarantine", key);
        let fail = |source| StoreError::CannotWrite {
            path: to.clone(),
            source,
        };
        fs::create_dir_all(self.dir.join("quarantine")).map_err(fail)?;
        match fs::rename(path, &to) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(to),
            other => other.map(|()| to.clone()).map_err(fail),
        }
    }

    /// The first name `KEY.N.json` in a folder that is not taken.
    fn free_path(&self, folder: &str, key: &str) -> PathBuf {
        let dir = self.dir.join(folder);
        (0..)
            .map(|i| dir.join(format!("{key}.{i}.json")))
            .find(|p| !p.exists())
            .unwrap_or(dir)
    }
}

fn version_of(cell: &Cell) -> u32 {
    cell.stage.parse::<Stage>().map_or(0, Stage::version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::FailureKind;
    use serde_json::json;

    fn cell(i: u32) -> Cell {
        Cell::new(Stage::Score, &json!({"i": i}), vec![]).unwrap()
    }

    fn failure() -> Failure {
        Failure {
            key: None,
            plugin: Some("bad".into()),
            message: "it panicked".into(),
            kind: FailureKind::Plugin,
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("out"), Access::Write).unwrap();
        (dir, store)
    }

    fn put(store: &Store, i: u32, value: f64) -> Put {
        store
            .put_done(&cell(i), &json!({ "value": value }), Provenance::default())
            .unwrap()
    }

    #[test]
    fn results_are_found_again_by_another_process() {
        let (_dir, store) = store();
        assert_eq!(put(&store, 1, 0.1), Put::Stored);
        let again = Store::open(store.dir(), Access::Read).unwrap();
        assert_eq!(
            again.output::<Value>(&cell(1).key).unwrap(),
            json!({"value": 0.1})
        );
        assert_eq!(again.lookup(&cell(2).key).unwrap(), Lookup::Missing);
        assert!(matches!(
            again.output::<Value>(&cell(2).key),
            Err(StoreError::NotDone { .. })
        ));
        let wrong = again.output::<Vec<u8>>(&cell(1).key).unwrap_err();
        assert!(matches!(wrong, StoreError::Output { .. }), "{wrong}");
    }

    #[test]
    fn a_second_result_is_the_same_or_a_conflict() {
        let (_dir, store) = store();
        put(&store, 1, 0.1);
        let other = Provenance {
            device: "cuda:0".into(),
            ..Provenance::default()
        };
        assert_eq!(
            store
                .put_done(&cell(1), &json!({"value": 0.1}), other)
                .unwrap(),
            Put::Same
        );
        let Put::Conflict { path } = put(&store, 1, 0.2) else {
            panic!("no conflict")
        };
        assert!(path.is_file());
        assert_eq!(
            store.output::<Value>(&cell(1).key).unwrap(),
            json!({"value": 0.1})
        );
    }

    #[test]
    fn a_failure_gives_way_to_a_result_and_never_the_reverse() {
        let (_dir, store) = store();
        store
            .put_failed(&cell(1), failure(), Provenance::default())
            .unwrap();
        let Lookup::Failed(record) = store.lookup(&cell(1).key).unwrap() else {
            panic!("not failed")
        };
        assert_eq!(record.failure, Some(failure()));
        assert_eq!(put(&store, 1, 0.1), Put::Stored);
        store
            .put_failed(&cell(1), failure(), Provenance::default())
            .unwrap();
        assert!(store.is_done(&cell(1).key).unwrap());
    }

    /// Cut at every length, and with a byte changed at every place: never read as a result, never in the way.
    #[test]
    fn damaged_files_are_quarantined_and_replaced() {
        let (_dir, store) = store();
        put(&store, 1, 0.1);
        let path = store.cell_path(&cell(1).key);
        let whole = fs::read(&path).unwrap();
        let cut = (0..whole.len() - 1)
            .step_by(37)
            .map(|n| whole[..n].to_vec());
        let flipped = (0..whole.len() - 1).step_by(41).map(|n| {
            let mut bytes = whole.clone();
            bytes[n] ^= 1;
            bytes
        });
        for bytes in cut.chain(flipped) {
            fs::write(&path, &bytes).unwrap();
            let read_only = Store::open(store.dir(), Access::Read)
                .unwrap()
                .lookup(&cell(1).key)
                .unwrap();
            assert!(
                matches!(read_only, Lookup::Damaged { .. }),
                "{}",
                String::from_utf8_lossy(&bytes)
            );
            assert!(path.is_file());
            let Lookup::Damaged { path: moved, .. } = store.lookup(&cell(1).key).unwrap() else {
                panic!("not damaged")
            };
            assert!(moved.is_file() && !path.exists());
            assert_eq!(put(&store, 1, 0.1), Put::Stored);
        }
    }

    #[test]
    fn stray_temporary_files_are_not_results() {
        let (_dir, store) = store();
        put(&store, 1, 0.1);
        let folder = store.cell_path(&cell(1).key).parent().unwrap().to_owned();
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            1,
            "no temporary file is left"
        );
        fs::write(folder.join(".abc.tmp"), "half").unwrap();
        assert!(store.is_done(&cell(1).key).unwrap());
    }

    #[test]
    fn stores_that_cannot_be_written_are_refused_before_work() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = Store::open(&path, Access::Write).unwrap_err();
            assert_eq!(error.exit_code(), 110, "{error}");
        }
        assert_eq!(
            Store::open(&dir.path().join("none"), Access::Read)
                .unwrap_err()
                .exit_code(),
            20
        );
    }

    #[test]
    fn a_newer_store_is_read_and_not_written() {
        let (_dir, store) = store();
        put(&store, 1, 0.1);
        fs::write(store.dir().join("store.json"), "{\"schema\":2}").unwrap();
        let error = Store::open(store.dir(), Access::Write).unwrap_err();
        assert_eq!(
            (error.exit_code(), error.to_string().contains("schema 2")),
            (3, true)
        );
        assert!(
            Store::open(store.dir(), Access::Read)
                .unwrap()
                .is_done(&cell(1).key)
                .unwrap()
        );
    }

    #[test]
    fn two_writers_of_one_cell_leave_one_result() {
        let (_dir, store) = store();
        let outcomes: Vec<Put> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| put(&store, 7, 0.5)))
                .collect();
            writers.into_iter().map(|w| w.join().unwrap()).collect()
        });
        assert_eq!(
            outcomes.iter().filter(|o| **o == Put::Stored).count(),
            1,
            "{outcomes:?}"
        );
        assert!(
            outcomes
                .iter()
                .all(|o| matches!(o, Put::Stored | Put::Same))
        );
    }
}
