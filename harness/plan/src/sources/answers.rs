use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use harness_contract::{
    jobs::Answer,
    sources::{Checkpoint, Found, ModelAnswer, ModelFolder, SaeAnswer, find},
};
use harness_weights::{InputError, check_checkpoint};

/// What plugins have said of folders. A plan asks nobody: whoever makes one has asked before, about
/// the folders that [`crate::expand::BenchRequest`] names.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    saes: BTreeMap<PathBuf, SaeAnswer>,
    models: BTreeMap<PathBuf, ModelAnswer>,
}

impl Answers {
    /// Remember what was said of a folder.
    pub fn add(&mut self, dir: PathBuf, answer: impl Into<Answer>) {
        match answer.into() {
            Answer::Sae(answer) => drop(self.saes.insert(dir, answer)),
            Answer::Model(answer) => drop(self.models.insert(dir, answer)),
        }
    }

    /// A checkpoint with what its adapter says of it; `None` where no adapter reads its
    /// `model_type`.
    ///
    /// # Errors
    /// A checkpoint that its adapter cannot use.
    pub fn model(&self, checkpoint: Checkpoint) -> Result<Option<ModelFolder>, InputError> {
        match self.models.get(&checkpoint.dir) {
            None => Ok(None),
            Some(ModelAnswer::Bad { message }) => Err(InputError::Told(message.clone())),
            Some(ModelAnswer::Model { facts }) => Ok(Some(ModelFolder {
                facts: facts.clone(),
                checkpoint,
            })),
        }
    }

    /// The checkpoint in a folder, with what its adapter says of it; `what` names it in messages.
    ///
    /// # Errors
    /// A folder that is no checkpoint, one that no adapter reads or that its adapter cannot use.
    pub fn read_model(&self, what: &str, dir: &Path) -> Result<ModelFolder, InputError> {
        let checkpoint = Checkpoint::read(what, dir)?;
        // Nobody was asked about a damaged one.
        check_checkpoint(dir)?;
        let model_type = checkpoint.model_type.clone();
        self.model(checkpoint)?.ok_or_else(|| {
            let message = format!(
                "no model adapter reads model_type `{model_type}`; remote code is never run; name \
                 the folder of a plugin that does with --plugins"
            );
            InputError::unusable(&dir.join("config.json"), message)
        })
    }

    /// Whether anything was said of a checkpoint's folder.
    pub fn has_model(&self, dir: &Path) -> bool {
        self.models.contains_key(dir)
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
