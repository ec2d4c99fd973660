//! `training.csv` in a run's folder: what every SAE's steps measured, written as they go.
//!
//! A run that goes on drops the rows after its checkpoint, which it will measure again. The
//! finished file is sorted, so that it does not show how often a run was interrupted.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use harness_contract::files::replace_soon;
use harness_core::policy::Policy;
use harness_engine::error::CellError;

use crate::grid::Measured;

/// Its columns.
const HEADER: &str = "policy,layer,k,step,tokens,loss,ev,l0,n_dead";

/// The file, open for more rows.
#[derive(Debug)]
pub(crate) struct History {
    path: PathBuf,
    file: File,
}

/// Which SAE a row is of, and when it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub policy: Policy,
    pub layer: usize,
    pub k: u32,
    /// Steps done with this one.
    pub step: u64,
    /// Activations of these steps.
    pub tokens: u64,
}

impl History {
    /// Opens the file of a run; of rows that are there, those stay that `is_kept` wants by policy
    /// and step.
    pub(crate) fn open(out: &Path, is_kept: impl Fn(&str, u64) -> bool) -> Result<Self, CellError> {
        let path = out.join("training.csv");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(store(&path, &error)),
        };
        // A killed run may leave half a line.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let is_wanted = |line: &&str| {
            let fields: Vec<&str> = line.split(',').collect();
            let step = fields.get(3).and_then(|step| step.parse().ok());
            fields.len() == HEADER.split(',').count()
                && step.is_some_and(|step| is_kept(fields[0], step))
        };
        let mut kept = format!("{HEADER}\n");
        for line in whole.lines().filter(is_wanted) {
            kept.push_str(line);
            kept.push('\n');
        }
        replace(&path, &kept)?;
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(|error| store(&path, &error))?;
        Ok(Self { path, file })
    }

    pub(crate) fn add(&mut self, rows: &[(At, Measured)]) -> Result<(), CellError> {
        let number = |x: f64| match x.is_finite() {
            // A zero has no sign.
            true => (x + 0.0).to_string(),
            false => String::new(),
        };
        let mut text = String::new();
        for (at, m) in rows {
            let At {
                policy,
                layer,
                k,
                step,
                tokens,
            } = at;
            let [loss, ev, l0, n_dead] = [m.loss, m.ev, m.l0, m.n_dead].map(number);
            text.push_str(&format!(
                "{policy},{layer},{k},{step},{tokens},{loss},{ev},{l0},{n_dead}\n"
            ));
        }
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|error| store(&self.path, &error))
    }

    /// Makes sure that the rows outlast the machine, as a checkpoint that counts on them does.
    pub(crate) fn sync(&self) -> Result<(), CellError> {
        let synced = self.file.sync_data();
        synced.map_err(|error| store(&self.path, &error))
    }

    /// Sorts the rows by policy, layer, k and step.
    pub(crate) fn finish(self) -> Result<(), CellError> {
        let text = fs::read_to_string(&self.path).map_err(|error| store(&self.path, &error))?;
        let mut rows: Vec<&str> = text.lines().skip(1).collect();
        rows.sort_by_cached_key(|row| {
            let mut fields = row.split(',');
            let policy = fields.next().unwrap_or_default().to_owned();
            let mut number = || fields.next().and_then(|f| f.parse::<u64>().ok());
            (policy, number(), number(), number())
        });
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        replace(&self.path, &format!("{HEADER}\n{lines}"))
    }
}

fn replace(path: &Path, text: &str) -> Result<(), CellError> {
    replace_soon(path, text.as_bytes()).map_err(|error| store(path, &error))
}

fn store(path: &Path, error: &io::Error) -> CellError {
    CellError::Store(format!("{}: cannot keep it: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(policy: Policy, k: u32, step: u64) -> (At, Measured) {
        let at = At {
            policy,
            layer: 2,
            k,
            step,
            tokens: step * 16,
        };
        let measured = Measured {
            loss: 0.5,
            ev: f64::NAN,
            l0: 4.0,
            n_dead: 3.0,
        };
        (at, measured)
    }

    #[test]
    fn rows_after_the_checkpoint_go_and_the_rest_ends_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::open(dir.path(), |_, _| true).unwrap();
        let rows = [
            at(Policy::Unmask, 8, 10),
            at(Policy::Mask, 8, 10),
            at(Policy::Mask, 8, 20),
        ];
        history.add(&rows).unwrap();
        history.file.write_all(b"mask,2,8,30,48").unwrap(); // the kill
        drop(history);
        let mut history =
            History::open(dir.path(), |policy, step| policy == "unmask" || step <= 10).unwrap();
        history
            .add(&[at(Policy::Mask, 24, 10), at(Policy::Mask, 8, 20)])
            .unwrap();
        history.sync().unwrap();
        history.finish().unwrap();
        let text = fs::read_to_string(dir.path().join("training.csv")).unwrap();
        assert_eq!(
            text,
            "policy,layer,k,step,tokens,loss,ev,l0,n_dead\n\
             mask,2,8,10,160,0.5,,4,3\n\
             mask,2,8,20,320,0.5,,4,3\n\
             mask,2,24,10,160,0.5,,4,3\n\
             unmask,2,8,10,160,0.5,,4,3\n"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
