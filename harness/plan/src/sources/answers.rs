use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use harness_contract::sources::{Found, SaeAnswer, find};
use harness_weights::InputError;

/// What plugins have said of folders. A plan asks nobody: whoever makes one has asked before, about
/// the folders that [`crate::expand::BenchRequest::set_dirs`] names.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    saes: BTreeMap<PathBuf, SaeAnswer>,
}

impl Answers {
    /// Remember what was said of a folder.
    pub fn add(&mut self, dir: PathBuf, answer: SaeAnswer) {
        self.saes.insert(dir, answer);
    }

    /// The SAEs below a folder.
    ///
    /// # Errors
    /// As [`find`]; a folder that nobody has asked about.
    pub fn find(&self, root: &Path) -> Result<Found, InputError> {
        find(root, &mut |dir| match self.saes.get(dir) {
            Some(answer) => Ok(answer.clone()),
            None => Err(InputError::unusable(
                dir,
                "has come after the plugins were asked what the folders are; start again",
            )),
        })
    }
}
