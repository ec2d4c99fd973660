//! Which model scores perplexity. A model that is not embedded is never scored by an embedded one
//! unless somebody says so.

use super::resolved::{EMBEDDED, NO_SCORER, Origin, Resolver};
use crate::bench::{RowSpec, SettingsPatch};

impl Resolver<'_> {
    /// The name of the scorer of a row, where the word [`EMBEDDED`] stands in its place.
    /// `None` after a problem; `Some(None)` where the settings name it.
    pub(super) fn scorer_name(
        &mut self,
        row: &RowSpec,
        model: usize,
        patch: &SettingsPatch,
        bench: &SettingsPatch,
    ) -> Option<Option<String>> {
        let Some(name) = patch.text("scorer").filter(|_| row.kind.has("scorer")) else {
            return Some(None);
        };
        let models = self.request.models;
        if name == EMBEDDED {
            let usual = bench.text("scorer").unwrap_or_default().to_owned();
            if models.contains_key(&usual) {
                let message = format!("--model {usual} names another scorer");
                self.problem("--scorer embedded", message, "give one of the two");
                return None;
            }
            return Some(Some(usual));
        }
        let is_said = name == NO_SCORER || models.contains_key(name) || self.request.is_forecast;
        if is_said || self.models[model].origin == Origin::Zoo {
            return Some(None);
        }
        let message = format!(
            "`{}` is no embedded model and needs a model that scores the perplexity of its texts",
            row.model
        );
        let hint = format!(
            "give one with --scorer {name}=DIR, say --scorer {NO_SCORER} to go without P and S, or --scorer {EMBEDDED} for the embedded {name}"
        );
        self.problem("--scorer", message, hint);
        None
    }
}
