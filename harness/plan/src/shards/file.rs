use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Chunk;
use crate::expand::Plan;
use harness_contract::{exit, files::replace_file, protocol::Sources};
use harness_store::RunManifest;

/// Version of the layout of plan files.
pub const SHARDS_SCHEMA: u32 = 1;
/// A plan of a million cells is smaller.
const MAX_BYTES: u64 = 256 << 20;
/// Changes that are named.
const NAMED: usize = 8;

/// A file that says which cells of a bench are wanted and how they are shared out. It may be used
/// by any process that sees the same folders under the same paths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardPlan {
    /// [`SHARDS_SCHEMA`].
    pub schema: u32,
    /// Names it: what all its shares spend on judges counts together.
    pub id: String,
    /// Name of the bench.
    pub bench: String,
    /// Arguments of `harness bench`.
    pub args: Vec<String>,
    /// Folder in which they were given.
    #[serde(serialize_with = "harness_contract::wire::paths")]
    pub folder: PathBuf,
    /// What the keys of the cells come from.
    pub basis: Basis,
    /// The cells.
    pub chunks: Vec<Chunk>,
}

/// What the keys of a bench's cells come from, to say what has changed when they have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Basis {
    /// Version of the harness.
    pub harness: String,
    /// Checkpoints by folder.
    pub models: BTreeMap<String, String>,
    /// SAEs by folder.
    pub saes: BTreeMap<String, String>,
    /// Files by path.
    pub files: BTreeMap<String, String>,
    /// Plugins by identifier.
    pub plugins: BTreeMap<String, String>,
    /// Settings by SAE set and variant.
    pub settings: BTreeMap<String, Value>,
}

/// Why a plan file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShardsError {
    #[error("cannot read the plan {}: {source}", path.display())]
    CannotRead { path: PathBuf, source: io::Error },
    /// It cannot be written.
    #[error("cannot write the plan {}: {source}", path.display())]
    CannotWrite { path: PathBuf, source: io::Error },
    #[error("{} is not a plan of `harness bench --write-plan` or `harness slurm submit`: {message}", path.display())]
    NoPlan {
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// Its cells are not those of the bench any more.
    #[error(
        "the plan {} does not fit any more: {missing} of its {cells} cells are not cells of {bench} now; {changes}",
        path.display()
    )]
    Stale {
        path: PathBuf,
        /// Cells that the bench has no more.
        missing: usize,
        /// Cells of the plan.
        cells: usize,
        bench: String,
        /// What has changed, in words.
        changes: String,
    },
}

impl ShardsError {
    /// Exit code of a run that ends for this reason.
    pub const fn exit_code(&self) -> u8 {
        match self {
            ShardsError::CannotWrite { .. } => exit::CANNOT_WRITE,
            _ => exit::BAD_INPUT,
        }
    }
}

impl ShardPlan {
    /// Read a plan file.
    ///
    /// # Errors
    /// When it cannot be read, is much too large, is no plan, or one of a newer version.
    pub fn read(path: &Path) -> Result<ShardPlan, ShardsError> {
        let no_plan = |message: String| ShardsError::NoPlan {
            path: path.to_owned(),
            message,
        };
        let mut bytes = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        read.map_err(|source| ShardsError::CannotRead {
            path: path.to_owned(),
            source,
        })?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(no_plan(format!(
                "it is larger than {} MiB",
                MAX_BYTES >> 20
            )));
        }
        let json: Value =
            serde_json::from_slice(&bytes).map_err(|error| no_plan(error.to_string()))?;
        match json.get("schema").and_then(Value::as_u64) {
            Some(schema) if schema > u64::from(SHARDS_SCHEMA) => {
                let message = format!(
                    "it has schema {schema}, this version reads up to {SHARDS_SCHEMA}; use the harness that wrote it"
                );
                return Err(no_plan(message));
            }
            _ => {}
        }
        serde_json::from_value(json).map_err(|error| no_plan(error.to_string()))
    }

    /// Write it, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ShardsError> {
        let cannot_write = |source| ShardsError::CannotWrite {
            path: path.to_owned(),
            source,
        };
        let mut bytes =
            serde_json::to_vec_pretty(self).map_err(|error| cannot_write(error.into()))?;
        bytes.push(b'\n');
        replace_file(path, &bytes).map_err(cannot_write)
    }

    /// Check that all its cells are cells of the bench as it is now.
    ///
    /// # Errors
    /// [`ShardsError::Stale`] with what has changed since it was written.
    pub fn check(&self, path: &Path, plan: &Plan, now: &Basis) -> Result<(), ShardsError> {
        let known: BTreeSet<&str> = plan.cells.iter().map(|cell| cell.key.as_str()).collect();
        let keys = || self.chunks.iter().flat_map(|chunk| &chunk.cells);
        let missing = keys().filter(|key| !known.contains(key.as_str())).count();
        if missing == 0 {
            return Ok(());
        }
        Err(ShardsError::Stale {
            path: path.to_owned(),
            missing,
            cells: keys().count(),
            bench: self.bench.clone(),
            changes: changes(&self.basis, now),
        })
    }
}

impl Basis {
    /// Of a run, by its manifest and by where its contents lie.
    pub fn of(manifest: &RunManifest, sources: &Sources) -> Basis {
        let by_path = |hashes: &BTreeMap<String, PathBuf>| {
            let paths = hashes.iter();
            paths
                .map(|(hash, path)| (path.display().to_string(), hash.clone()))
                .collect()
        };
        let plugins = manifest.plugins.iter();
        Basis {
            harness: manifest.harness.clone(),
            models: by_path(&sources.models),
            saes: by_path(&sources.saes),
            files: by_path(&sources.files),
            plugins: plugins
                .map(|plugin| (plugin.id.clone(), plugin.hash.clone()))
                .collect(),
            settings: manifest.settings.clone(),
        }
    }
}

/// What differs between two bases, in words.
fn changes(then: &Basis, now: &Basis) -> String {
    let mut named = Vec::new();
    let kinds = [
        ("model", &then.models, &now.models),
        ("SAE", &then.saes, &now.saes),
        ("file", &then.files, &now.files),
        ("plugin", &then.plugins, &now.plugins),
    ];
    for (kind, then, now) in kinds {
        named.extend(
            differing(then, now)
                .into_iter()
                .map(|name| format!("{kind} {name}")),
        );
    }
    let settings = differing(&then.settings, &now.settings);
    named.extend(
        settings
            .into_iter()
            .map(|name| format!("settings of {name}")),
    );
    if then.harness != now.harness {
        named.push(format!(
            "the harness ({} then, {} now)",
            then.harness, now.harness
        ));
    }
    let n = named.len();
    if n > NAMED {
        named.truncate(NAMED);
        named.push(format!("{} more", n - NAMED));
    }
    match n {
        0 => "nothing that it notes has changed, so it is the harness itself".to_owned(),
        _ => format!("changed since it was written: {}", named.join(", ")),
    }
}

/// Names that are in one alone or stand for something else.
fn differing<'a, T: PartialEq>(
    then: &'a BTreeMap<String, T>,
    now: &'a BTreeMap<String, T>,
) -> Vec<&'a str> {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let differs = |name: &&String| then.get(*name) != now.get(*name);
    names
        .into_iter()
        .filter(differs)
        .map(String::as_str)
        .collect()
}
