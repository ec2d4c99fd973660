//! Cells of a run, read for what they are before their outputs are.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

use super::ReportError;
use harness_contract::canonical::sha256_hex;
use harness_store::{Access, CellRecord, Damage, STORE_SCHEMA, Store};

/// A cell file; `O` is its output.
#[derive(Deserialize)]
struct File<O> {
    checksum: String,
    record: Record<O>,
}

/// A cell's record with its output, or with [`IgnoredAny`] in its place.
#[derive(Deserialize)]
pub(super) struct Record<O> {
    pub schema: u32,
    pub key: String,
    pub stage: String,
    pub params: Value,
    pub inputs: Vec<String>,
    pub output: Option<O>,
    pub failure: Option<IgnoredAny>,
    pub provenance: Finished,
}

/// What is read of a cell's provenance: the rest may differ from version to version.
#[derive(Deserialize)]
pub(super) struct Finished {
    pub finished_unix: u64,
}

/// A cell without its output.
pub(super) type Head = Record<IgnoredAny>;

impl Head {
    pub fn is_done(&self) -> bool {
        self.output.is_some() && self.failure.is_none()
    }

    /// Its parameters as those of its stage; `None` for a cell of another version.
    pub fn params<P: DeserializeOwned>(&self) -> Option<P> {
        P::deserialize(&self.params).ok()
    }
}

/// The cells of a run.
pub(super) struct Scan {
    pub dir: PathBuf,
    pub heads: Vec<Head>,
    pub n_damaged: u64,
}

impl Scan {
    /// Read all cells of a folder of results, by key.
    pub fn read(dir: &Path) -> Result<Scan, ReportError> {
        if !dir.is_dir() {
            return Err(ReportError::NoRun {
                path: dir.to_owned(),
            });
        }
        let mut scan = Scan {
            dir: dir.to_owned(),
            heads: Vec::new(),
            n_damaged: 0,
        };
        let store = Store::open(dir, Access::Read)?;
        for key in store.keys()? {
            match parse::<IgnoredAny>(&key, &read(&store.cell_path(&key))?) {
                Ok(head) => scan.heads.push(head),
                Err(_) => scan.n_damaged += 1,
            }
        }
        Ok(scan)
    }

    /// Done cells of a stage.
    pub fn done(&self, stage: &str) -> impl Iterator<Item = &Head> {
        let stage = stage.to_owned();
        self.heads
            .iter()
            .filter(move |head| head.stage == stage && head.is_done())
    }

    /// Failed cells of these stages.
    pub fn n_failed(&self, stages: &[&str]) -> u64 {
        let failed = |head: &&Head| !head.is_done() && stages.contains(&head.stage.as_str());
        self.heads.iter().filter(failed).count() as u64
    }

    /// The stages there are, for a message.
    pub fn stages(&self) -> String {
        let mut stages: Vec<&str> = self.heads.iter().map(|head| head.stage.as_str()).collect();
        stages.sort_unstable();
        stages.dedup();
        match (stages.is_empty(), self.n_damaged) {
            (true, 0) => "it has no cells at all".to_owned(),
            (true, n) => format!("{n} cell files are damaged, and there are no others"),
            (false, _) => format!("its cells are of the stages {}", stages.join(", ")),
        }
    }
}

/// Output of a done cell.
///
/// # Errors
/// When its file cannot be read, is damaged, or is of another version.
pub(super) fn output<O: DeserializeOwned>(dir: &Path, key: &str) -> Result<O, ReportError> {
    let path = dir
        .join("cells")
        .join(key.get(..2).unwrap_or("xx"))
        .join(format!("{key}.json"));
    let fail = |reason: String| ReportError::CannotRead {
        path: path.clone(),
        reason,
    };
    let record = parse::<O>(key, &read(&path)?).map_err(|damage| fail(damage.to_string()))?;
    record
        .output
        .ok_or_else(|| fail("the cell has no output".to_owned()))
}

/// A cell file, checked as the store checks it. Its bytes are hashed as they lie there, which is
/// what the store does after it has read them and written them again; a file that was written
/// another way is given to the store's own check.
fn parse<O: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<Record<O>, Damage> {
    let unreadable = |error: serde_json::Error| Damage::Unreadable(error.to_string());
    let file: File<O> = serde_json::from_slice(bytes).map_err(unreadable)?;
    let head = format!("{{\"checksum\":\"{}\",\"record\":", file.checksum);
    let raw = bytes
        .strip_prefix(head.as_bytes())
        .and_then(|rest| rest.strip_suffix(b"}\n"));
    let is_whole = raw.is_some_and(|raw| sha256_hex(raw) == file.checksum)
        && file.record.key == key
        && file.record.schema <= STORE_SCHEMA;
    if !is_whole {
        CellRecord::from_bytes(key, bytes)?;
    }
    Ok(file.record)
}

fn read(path: &Path) -> Result<Vec<u8>, ReportError> {
    fs::read(path).map_err(|error| cannot_read(path, &error))
}

fn cannot_read(path: &Path, error: &io::Error) -> ReportError {
    ReportError::CannotRead {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
