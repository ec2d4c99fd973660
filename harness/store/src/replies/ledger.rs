use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use harness_contract::files::replace_file;
use harness_contract::judging::Spent;

/// What each run has spent, where all its workers see it: `REPLIES/ledger.json`. Written by the
/// worker that is asking.
///
/// A batch is entered at its worst case before it is sent and corrected when its replies are there.
/// A worker that dies in between leaves the worst case behind, which may be more than was paid and
/// is never less.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// What was spent, by the name of the run.
    pub runs: BTreeMap<String, Spent>,
}

impl Ledger {
    /// Read it; one that is not there is empty.
    ///
    /// # Errors
    /// When the file cannot be read or is no ledger: a budget must not begin anew because of that.
    pub fn read(path: &Path) -> io::Result<Ledger> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ledger::default()),
            Err(error) => Err(error),
        }
    }

    /// What a run has spent.
    pub fn of(&self, run: &str) -> Spent {
        self.runs.get(run).copied().unwrap_or_default()
    }

    /// Write it, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        bytes.push(b'\n');
        replace_file(path, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_finds_what_it_has_spent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("replies/ledger.json");
        let mut ledger = Ledger::read(&path).unwrap();
        assert_eq!(ledger.of("one"), Spent::default());
        let spent = Spent {
            calls: 3,
            usd: 0.25,
        };
        ledger.runs.insert("one".into(), spent);
        ledger.write(&path).unwrap();
        let again = Ledger::read(&path).unwrap();
        assert_eq!(
            (again.of("one"), again.of("two")),
            (spent, Spent::default())
        );
        fs::write(&path, "half").unwrap();
        assert!(Ledger::read(&path).is_err());
    }
}
