//! The state of a run on disk: `train.json` in its output folder, trainers' files in
//! `.train/<policy>-<steps>/`.
//!
//! A checkpoint is written beside the one before; `train.json` is then replaced in one move, and
//! the older files go last, so a kill at any moment leaves a state that can be continued.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use harness_contract::files::replace_file;
use harness_core::policy::Policy;
use harness_engine::error::CellError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::grid::{Grid, Learner, Progress, Spent};

/// The record's file.
const RECORD: &str = "train.json";
/// Layout of `train.json`, what its fingerprint holds, and which rows make up a pool.
const VERSION: u32 = 2;
/// Time after which a checkpoint is due, however few steps were made.
const EVERY: Duration = Duration::from_secs(300);

/// One policy's part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub progress: Progress,
    /// Time it has taken; the result does not depend on it.
    #[serde(default)]
    pub spent: Spent,
    /// Set when its SAEs are written: one report each.
    pub finished: Option<Vec<Value>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// Everything that decides the result.
    fingerprint: Map<String, Value>,
    /// Whether the text was counted and is long enough, so that it need not be counted again.
    #[serde(default)]
    is_text_enough: bool,
    policies: BTreeMap<String, Saved>,
}

/// When checkpoints are due by the clock: how long ago each policy's last one was written.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    written: BTreeMap<Policy, Duration>,
}

impl Timer {
    /// Whether a policy's checkpoint is due; times count from the beginning of this process's work.
    pub(crate) fn is_due(&self, policy: Policy, now: Duration) -> bool {
        let written = self.written.get(&policy).copied().unwrap_or_default();
        now.saturating_sub(written) >= EVERY
    }

    /// A policy's checkpoint was written.
    pub(crate) fn is_written(&mut self, policy: Policy, now: Duration) {
        self.written.insert(policy, now);
    }
}

/// The run's folder and what its record says.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    out: PathBuf,
    record: Record,
}

fn store(path: &Path, action: &str) -> impl FnOnce(io::Error) -> CellError {
    let text = format!("{}: cannot {action}", path.display());
    move |error| CellError::Store(format!("{text}: {error}"))
}

impl Checkpoints {
    /// Opens a run's folder, new or interrupted.
    ///
    /// # Errors
    /// A run with other settings in the folder; a damaged record; a folder that cannot be written.
    pub(crate) fn open(out: &Path, fingerprint: Map<String, Value>) -> Result<Self, CellError> {
        fs::create_dir_all(out).map_err(store(out, "create it"))?;
        let path = out.join(RECORD);
        let mut record = Record {
            version: VERSION,
            fingerprint,
            is_text_enough: false,
            policies: BTreeMap::new(),
        };
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(store(&path, "read it")(error)),
            Ok(bytes) => {
                let found: Record =
                    serde_json::from_slice(&bytes).map_err(|error| CellError::Unfit {
                        path: path.clone(),
                        reason: format!(
                            "not the record of a training run ({error}); use another --out"
                        ),
                    })?;
                let differing: Vec<&str> = record
                    .fingerprint
                    .iter()
                    .filter(|(key, value)| found.fingerprint.get(*key) != Some(*value))
                    .map(|(key, _)| key.as_str())
                    .collect();
                if found.version != VERSION {
                    return Err(CellError::Unfit {
                        path,
                        reason: "another version of harness began the run in this folder; go on with that version, or \
                            use another --out"
                            .to_owned(),
                    });
                }
                if !differing.is_empty() {
                    return Err(CellError::Unfit {
                        path,
                        reason: format!(
                            "this folder holds a run with other settings ({}); use another --out",
                            differing.join(", ")
                        ),
                    });
                }
                record.policies = found.policies;
                record.is_text_enough = found.is_text_enough;
            }
        }
        Ok(Self {
            out: out.to_path_buf(),
            record,
        })
    }

    /// Whether a folder holds a run.
    pub(crate) fn are_in(out: &Path) -> bool {
        out.join(RECORD).exists()
    }

    /// Whether the SAEs of all these policies are written.
    pub(crate) fn are_finished(&self, policies: &[Policy]) -> bool {
        (policies.iter()).all(|p| self.saved(*p).is_some_and(|s| s.finished.is_some()))
    }

    /// Whether the text is known to be long enough.
    pub(crate) fn is_text_enough(&self) -> bool {
        self.record.is_text_enough
    }

    /// Notes that the text is long enough; it is kept with the next checkpoint.
    pub(crate) fn text_is_enough(&mut self) {
        self.record.is_text_enough = true;
    }

    /// Whether a policy has made steps that are in no checkpoint.
    pub(crate) fn lacks<L: Learner>(&self, grid: &Grid<L>) -> bool {
        let saved = (self.saved(grid.policy)).map_or(0, |saved| saved.progress.steps);
        grid.progress.steps > saved
    }

    /// What is saved of a policy.
    pub(crate) fn saved(&self, policy: Policy) -> Option<&Saved> {
        self.record.policies.get(policy.name())
    }

    /// Folder of a policy's trainers' files.
    pub(crate) fn folder(&self, policy: Policy, progress: &Progress) -> PathBuf {
        self.out
            .join(".train")
            .join(format!("{policy}-{}", progress.steps))
    }

    /// Writes a checkpoint of a policy and drops the one before.
    pub(crate) fn save<L: Learner>(&mut self, grid: &mut Grid<L>) -> Result<(), CellError> {
        let folder = self.folder(grid.policy, &grid.progress);
        fs::create_dir_all(&folder).map_err(store(&folder, "create it"))?;
        grid.save(&folder)?;
        let saved = Saved {
            progress: grid.progress.clone(),
            spent: grid.spent.clone(),
            finished: None,
        };
        self.replace(grid.policy, saved)
    }

    /// Records that a policy's SAEs are written.
    pub(crate) fn finish<L: Learner>(
        &mut self,
        grid: &Grid<L>,
        reports: Vec<Value>,
    ) -> Result<(), CellError> {
        let saved = Saved {
            progress: grid.progress.clone(),
            spent: grid.spent.clone(),
            finished: Some(reports),
        };
        self.replace(grid.policy, saved)
    }

    fn replace(&mut self, policy: Policy, saved: Saved) -> Result<(), CellError> {
        let keep = self.folder(policy, &saved.progress);
        let finished = saved.finished.is_some();
        self.record.policies.insert(policy.name().to_owned(), saved);
        self.write()?;
        // Older checkpoints of the policy, those of killed runs included.
        let prefix = format!("{policy}-");
        let folder = self.out.join(".train");
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let old = entry.file_name().to_string_lossy().starts_with(&prefix)
                && (finished || entry.path() != keep);
            if old {
                fs::remove_dir_all(entry.path()).map_err(store(&entry.path(), "remove it"))?;
            }
        }
        if finished {
            let _ = fs::remove_dir(&folder); // stays while another policy uses it
        }
        Ok(())
    }

    fn write(&self) -> Result<(), CellError> {
        let path = self.out.join(RECORD);
        let bytes = serde_json::to_vec_pretty(&self.record).map_err(io::Error::from);
        let written = bytes.and_then(|mut bytes| {
            bytes.push(b'\n');
            replace_file(&path, &bytes)
        });
        written.map_err(store(&path, "write it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_after_five_minutes_whatever_the_steps() {
        let mut timer = Timer::default();
        let at = Duration::from_secs;
        assert!(!timer.is_due(Policy::Mask, at(299)) && timer.is_due(Policy::Mask, at(300)));
        timer.is_written(Policy::Mask, at(310));
        assert!(!timer.is_due(Policy::Mask, at(609)) && timer.is_due(Policy::Mask, at(610)));
        assert!(timer.is_due(Policy::Unmask, at(610)), "each has its own");
    }

    #[test]
    fn runs_of_other_versions_are_refused_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let old = r#"{"version": 1, "fingerprint": {}, "policies": {}}"#;
        fs::write(dir.path().join(RECORD), old).unwrap();
        let error = Checkpoints::open(dir.path(), Map::new()).unwrap_err();
        assert!(error.to_string().contains("another version"), "{error}");
    }
}
