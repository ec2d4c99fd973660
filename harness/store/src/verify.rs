use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    CellRecord, Finding, Problem, STORE_SCHEMA, Store, StoreError,
    keys::{OF_REPLIES, Shards, entries, is_temporary, read_file},
    manifest::MANIFESTS,
};
use crate::{
    SLURM,
    claims::FOLDER as CLAIMS,
    replies::{FOLDER as REPLIES, KeptReply, Replies, RepliesError},
};
use harness_contract::stages::Stage;

/// Entries of a store's folder that the store itself writes.
const OWN: [&str; 10] = [
    "store.json",
    "run.json",
    "cells",
    "quarantine",
    "conflicts",
    CLAIMS,
    MANIFESTS,
    REPLIES,
    "pages",
    SLURM,
];
/// Endings of files that benches leave beside the cells.
const RESULTS: [&str; 6] = ["csv", "svg", "png", "jsonl", "md", "html"];

/// What reading every file of a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Cells that are done and whole.
    pub done: u64,
    /// Cells that failed.
    pub failed: u64,
    /// Cells that are open.
    pub open: u64,
    /// Cell files that cannot be used.
    pub damaged: u64,
    /// Replies that are whole.
    pub replies: u64,
    /// Replies that cannot be used.
    pub damaged_replies: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Everything that is not as a run leaves it, what costs a result first.
    pub findings: Vec<Finding>,
}

impl Verified {
    /// Findings that cost a result, or may.
    pub fn n_faults(&self) -> usize {
        let is_fault = |finding: &&Finding| !finding.problem.is_harmless();
        self.findings.iter().filter(is_fault).count()
    }
}

/// What was done cells need, and what there is.
#[derive(Default)]
struct Inputs {
    /// Why each cell that has a file is not done; damaged ones count as done, for they are named
    /// themselves.
    not_done: BTreeMap<String, Option<&'static str>>,
    /// File of a done cell, and an input of it.
    needed: Vec<(PathBuf, String)>,
}

impl Store {
    /// Read and check every file: cells (checksum, schema, key, inputs), replies (checksum, key),
    /// and what lies about. Nothing is moved, whatever the store is open for. `progress` is called
    /// with the files read so far and all there are.
    ///
    /// # Errors
    /// When a folder or a file cannot be read.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, StoreError> {
        let cells = Shards::read(&self.dir().join("cells"), &[])?;
        let replies = Replies::new(&self.dir().join(REPLIES));
        let kept = Shards::read(replies.dir(), &OF_REPLIES)?;
        let total = (cells.keys.len() + kept.keys.len()) as u64;
        let mut found = Verified::default();
        let mut inputs = Inputs::default();
        progress(0, total);
        for (i, key) in cells.keys.iter().enumerate() {
            self.verify_cell(key, &mut found, &mut inputs)?;
            progress(i as u64 + 1, total);
        }
        for (i, key) in kept.keys.iter().enumerate() {
            verify_reply(&replies.path(key), key, &mut found)?;
            progress((cells.keys.len() + i) as u64 + 1, total);
        }
        for (path, input) in inputs.needed {
            let state = match inputs.not_done.get(&input) {
                Some(None) => continue,
                Some(Some(state)) => state,
                None => "missing",
            };
            found.add(path, Problem::Input { input, state });
        }
        for (shards, of) in [(cells, "cell"), (kept, "kept reply")] {
            for path in shards.others {
                found.add(path, Problem::Misplaced { of });
            }
            for path in shards.temporary {
                found.add(path, Problem::Temporary);
            }
        }
        verify_money(&replies, &mut found)?;
        self.verify_folder(&mut found)?;
        (found.findings).sort_by(|a, b| {
            (a.problem.is_harmless(), &a.path).cmp(&(b.problem.is_harmless(), &b.path))
        });
        Ok(found)
    }

    fn verify_cell(
        &self,
        key: &str,
        found: &mut Verified,
        inputs: &mut Inputs,
    ) -> Result<(), StoreError> {
        let path = self.cell_path(key);
        let Some(bytes) = read_file(&path)? else {
            return Ok(());
        };
        found.bytes += bytes.len() as u64;
        let record = match CellRecord::from_bytes(key, &bytes) {
            Ok(record) => record,
            Err(damage) => {
                found.damaged += 1;
                inputs.not_done.insert(key.to_owned(), None);
                found.add(path, Problem::Cell(damage));
                return Ok(());
            }
        };
        let is_open = record.is_open();
        let state = record.failure.as_ref().map(|_| match is_open {
            true => "open",
            false => "failed",
        });
        inputs.not_done.insert(key.to_owned(), state);
        let is_of_this_version =
            (record.stage.parse::<Stage>()).is_ok_and(|stage| stage.version() == record.version);
        if !is_of_this_version {
            let (stage, version) = (record.stage.clone(), record.version);
            found.add(path.clone(), Problem::OtherVersion { stage, version });
        }
        match record.failure {
            Some(failure) => {
                let message = failure.message.lines().next().unwrap_or_default();
                let message = message.to_owned();
                let stage = record.stage;
                if is_open {
                    found.open += 1;
                    found.add(path, Problem::Open { stage, message });
                } else {
                    found.failed += 1;
                    found.add(path, Problem::Failed { stage, message });
                }
            }
            None => {
                found.done += 1;
                let needed = record.inputs.into_iter();
                inputs.needed.extend(needed.map(|key| (path.clone(), key)));
            }
        }
        Ok(())
    }

    /// The folder itself, and what was put aside.
    fn verify_folder(&self, found: &mut Verified) -> Result<(), StoreError> {
        for (path, name) in entries(self.dir())? {
            let is_result = Path::new(&name)
                .extension()
                .is_some_and(|ending| RESULTS.iter().any(|known| ending == *known));
            if is_temporary(&name) {
                found.add(path, Problem::Temporary);
            } else if !(OWN.contains(&name.as_str()) || (is_result && path.is_file())) {
                found.add(path, Problem::Unknown);
            }
        }
        let of_replies = self.dir().join(REPLIES);
        for (folder, problem) in [
            (self.dir().join("quarantine"), Problem::Quarantined),
            (of_replies.join("quarantine"), Problem::Quarantined),
            (self.dir().join("conflicts"), Problem::Conflict),
            (of_replies.join("conflicts"), Problem::ReplyConflict),
        ] {
            for (path, name) in entries(&folder)? {
                match is_temporary(&name) {
                    true => found.add(path, Problem::Temporary),
                    false => found.add(path, problem.clone()),
                }
            }
        }
        let path = self.dir().join("store.json");
        let schema = read_file(&path)?
            .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
            .and_then(|file| file.get("schema")?.as_u64());
        match schema {
            None => found.add(path, Problem::NoSchema),
            Some(schema) if schema > u64::from(STORE_SCHEMA) => {
                found.add(path, Problem::Newer { found: schema });
            }
            Some(_) => {}
        }
        let path = self.dir().join("run.json");
        if path.exists() && self.read_manifest().is_none() {
            found.add(path, Problem::Manifest);
        }
        Ok(())
    }
}

impl Verified {
    fn add(&mut self, path: PathBuf, problem: Problem) {
        self.findings.push(Finding { path, problem });
    }
}

fn verify_reply(path: &Path, key: &str, found: &mut Verified) -> Result<(), StoreError> {
    let Some(bytes) = read_file(path)? else {
        return Ok(());
    };
    found.bytes += bytes.len() as u64;
    match KeptReply::from_bytes(key, &bytes) {
        Ok(_) => found.replies += 1,
        Err(damage) => {
            found.damaged_replies += 1;
            found.add(path.to_owned(), Problem::Reply(damage));
        }
    }
    Ok(())
}

/// What was spent, and batches under way: a run refuses to ask when these cannot be read.
fn verify_money(replies: &Replies, found: &mut Verified) -> Result<(), StoreError> {
    let checks = [replies.spent("").map(|_| ()), replies.batches().map(|_| ())];
    for check in checks {
        match check {
            Ok(()) => {}
            Err(RepliesError::CannotRead { path, source }) if path.is_file() => {
                found.add(path, Problem::Money(source.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
