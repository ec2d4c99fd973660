//! Whose text a row reads. A model that is not embedded never gets the embedded models' text unless
//! somebody says so.

use std::path::{Path, PathBuf};

use super::resolved::{EMBEDDED, Origin, Resolver, TextSource};
use crate::{
    bench::{RowSpec, TextInput, TextNeed},
    sources::TextFiles,
};

impl Resolver<'_> {
    /// The files of a row's text, prompts or questions, and whose they are.
    pub(super) fn text(
        &mut self,
        row: &RowSpec,
        model: usize,
    ) -> Option<(Vec<PathBuf>, TextSource)> {
        let request = self.request;
        let need = row.kind.0.text?;
        let (given, own) = match need.input {
            TextInput::Questions => ([request.questions, &[]], request.zoo_questions),
            TextInput::Prompts => ([request.prompts, request.data], request.zoo_prompts),
            TextInput::Documents => ([request.data, &[]], request.zoo_data),
        };
        let given = given.into_iter().find(|files| !files.is_empty());
        let is_embedded = self.models[model].origin == Origin::Zoo;
        match given {
            Some(files) if files != [Path::new(EMBEDDED)] => {
                let found = self.files(files)?;
                Some((found, TextSource::Given))
            }
            Some(_) => Some((own.to_vec(), TextSource::Embedded)),
            None if is_embedded => Some((own.to_vec(), TextSource::Embedded)),
            None if request.is_forecast => Some((Vec::new(), TextSource::Assumed)),
            None => {
                let option = need.input.option();
                let TextNeed { what, files, .. } = need;
                let message = format!("`{}` is no embedded model and needs {what}", row.model);
                let hint = format!(
                    "give it with {option} FILE ({files}), or say {option} {EMBEDDED} for the text of the embedded models"
                );
                self.problem(option, message, hint);
                None
            }
        }
    }
}

impl<'a> Resolver<'a> {
    /// The files of a text that was given, looked for once; `None` where they cannot be used.
    fn files(&mut self, given: &'a [PathBuf]) -> Option<Vec<PathBuf>> {
        if let Some(known) = self.texts.get(given) {
            return known.clone();
        }
        let found = match TextFiles::of(given) {
            Ok(TextFiles { files, notes }) => {
                for note in notes {
                    if !self.notes.contains(&note) {
                        self.notes.push(note);
                    }
                }
                Some(files)
            }
            Err(error) => {
                self.unusable(error);
                None
            }
        };
        self.texts.insert(given, found.clone());
        found
    }
}
