use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use harness_contract::files::{Placing, write_whole};

use crate::replies::RepliesError;

use super::{CellRecord, Damage, Provenance, STORE_SCHEMA};
use harness_contract::{cell::Cell, exit, protocol::Failure};

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
    Missing,
    Done(Box<CellRecord>),
    /// It failed; it may be run again. It may be open ([`CellRecord::is_open`]): what failed for a
    /// reason outside is missing in its output.
    Failed(Box<CellRecord>),
    /// Its file was damaged, and is out of the way when the store is open for writing: run it
    /// again.
    Damaged {
        /// Where the file is now.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
}

/// What there is of a cell's output.
#[derive(Clone, Debug, PartialEq)]
pub struct Available<T> {
    pub output: T,
    /// Whether the cell is done; else something in it is missing for a reason outside.
    pub is_whole: bool,
}

/// What became of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
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
    CannotWrite { path: PathBuf, source: io::Error },
    #[error("cannot read results from {}: {source}", path.display())]
    CannotRead { path: PathBuf, source: io::Error },
    /// It was written by a newer version.
    #[error("{} was written with schema {found}, this version writes {STORE_SCHEMA}; it can be read, choose another --out to write", path.display())]
    Newer {
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

impl From<RepliesError> for StoreError {
    fn from(error: RepliesError) -> StoreError {
        match error {
            RepliesError::CannotRead { path, source } => StoreError::CannotRead { path, source },
            RepliesError::CannotWrite { path, source } => StoreError::CannotWrite { path, source },
        }
    }
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
    /// Open a store, creating it for [`Access::Write`]. Fails before any work when it cannot be
    /// written.
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

    /// What is known of a cell. A damaged file is moved to quarantine when the store is open for
    /// writing.
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
        match self.available(key)? {
            Some(Available {
                output,
                is_whole: true,
            }) => Ok(output),
            _ => Err(StoreError::NotDone {
                key: key.to_owned(),
            }),
        }
    }

    /// Output of a done cell, or what there is of an open one; `None` of any other.
    ///
    /// # Errors
    /// As [`Store::lookup`]; when the output is not of this type.
    pub fn available<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<Available<T>>, StoreError> {
        let (record, is_whole) = match self.lookup(key)? {
            Lookup::Done(record) => (record, true),
            Lookup::Failed(record) if record.is_open() => (record, false),
            _ => return Ok(None),
        };
        let output = record.output.unwrap_or(Value::Null);
        let output = serde_json::from_value(output).map_err(|source| StoreError::Output {
            key: key.to_owned(),
            source,
        })?;
        Ok(Some(Available { output, is_whole }))
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
        let record = CellRecord::new(cell, Ok(output), provenance).map_err(encode)?;
        let bytes = record.to_bytes().map_err(encode)?;
        self.put_record(&record, &bytes)
    }

    /// Put the record of a done cell in place; `bytes` is its file.
    pub(super) fn put_record(&self, record: &CellRecord, bytes: &[u8]) -> Result<Put, StoreError> {
        let path = self.cell_path(&record.key);
        match self.write(&path, bytes, Placing::IfAbsent) {
            Ok(()) => return Ok(Put::Stored),
            Err(StoreError::CannotWrite { source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        match self.lookup(&record.key)? {
            Lookup::Done(first) if first.output == record.output => Ok(Put::Same),
            Lookup::Done(_) => {
                let path = self.keep_conflict(record, bytes)?;
                Ok(Put::Conflict { path })
            }
            Lookup::Missing | Lookup::Failed(_) | Lookup::Damaged { .. } => {
                self.write(&path, bytes, Placing::Replace)?;
                Ok(Put::Stored)
            }
        }
    }

    /// Keep a second result of a done cell, once however often it comes.
    pub(super) fn keep_conflict(
        &self,
        record: &CellRecord,
        bytes: &[u8],
    ) -> Result<PathBuf, StoreError> {
        let free = self.free_path("conflicts", &record.key);
        let holds_it = |path: &PathBuf| {
            fs::read(path)
                .ok()
                .and_then(|bytes| CellRecord::from_bytes(&record.key, &bytes).ok())
                .is_some_and(|kept| kept.output == record.output)
        };
        let dir = self.dir.join("conflicts");
        let kept = (0..)
            .map(|i| dir.join(format!("{}.{i}.json", record.key)))
            .take_while(|path| *path != free)
            .find(holds_it);
        if let Some(path) = kept {
            return Ok(path);
        }
        self.write(&free, bytes, Placing::Replace)?;
        Ok(free)
    }

    /// Store the failure of a cell; a result that is there stays, and so does the output of an open
    /// cell.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_failed(
        &self,
        cell: &Cell,
        failure: Failure,
        provenance: Provenance,
    ) -> Result<(), StoreError> {
        self.put_unfinished(cell, None, failure, provenance)
    }

    /// Store what there is of a cell that is open, and why it is; a result that is there stays.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_open(
        &self,
        cell: &Cell,
        output: Value,
        failure: Failure,
        provenance: Provenance,
    ) -> Result<(), StoreError> {
        self.put_unfinished(cell, Some(output), failure, provenance)
    }

    fn put_unfinished(
        &self,
        cell: &Cell,
        output: Option<Value>,
        failure: Failure,
        provenance: Provenance,
    ) -> Result<(), StoreError> {
        let encode = |source| StoreError::Output {
            key: cell.key.clone(),
            source,
        };
        let record = match self.lookup(&cell.key)? {
            Lookup::Done(_) => return Ok(()),
            // Tables have shown this output, and running the cell again gave none.
            Lookup::Failed(first) if first.is_open() && output.is_none() => CellRecord {
                failure: Some(failure),
                ..*first
            },
            _ => CellRecord {
                output,
                ..CellRecord::new(cell, Err(failure), provenance).map_err(encode)?
            },
        };
        let bytes = record.to_bytes().map_err(encode)?;
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

    pub(super) fn write(
        &self,
        path: &Path,
        bytes: &[u8],
        placing: Placing,
    ) -> Result<(), StoreError> {
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
