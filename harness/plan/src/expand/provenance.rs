//! Whose models, text and scorer a bench runs on, and which budgets, in sentences for its header,
//! its tables and its manifest.

use serde_json::Value;

use super::{Origin, ResolvedBench, ResolvedModel, ResolvedRow, TextSource};
use crate::{bench::Profile, sources::TextFiles};
use harness_contract::sanitize::one_line;

/// Budgets, in the order in which they are said.
const BUDGETS: [&str; 15] = [
    "k",
    "budget_tokens",
    "context_length",
    "documents",
    "mask_rate",
    "positions",
    "n_features",
    "n_prefix",
    "n_latents",
    "n_prompts",
    "n_questions",
    "amp_factor",
    "dlm_steps",
    "max_new_tokens",
    "batch",
];

impl ResolvedModel {
    /// Whether it is an embedded model.
    pub fn is_embedded(&self) -> bool {
        self.origin == Origin::Zoo
    }

    /// Its own name, whatever the bench calls it: `embedded`, or that of its folder with that of
    /// its configuration.
    pub fn own_name(&self) -> String {
        let folder = self.folder.checkpoint.own_name();
        if self.is_embedded() {
            return match folder == self.name {
                true => "embedded".to_owned(),
                false => format!("the embedded {folder}"),
            };
        }
        match self.folder.checkpoint.config_name() {
            Some(name) if name != folder => format!("{folder} (config.json: {name})"),
            _ => folder,
        }
    }

    /// What it is, in a sentence that begins with the bench's name for it.
    fn described(&self) -> String {
        match self.is_embedded() {
            true => self.own_name(),
            false => format!("the checkpoint {}", self.own_name()),
        }
    }
}

impl ResolvedRow {
    /// Its text, in words.
    pub fn text_name(&self) -> String {
        let need = self.row.kind.0.text;
        let n = need.map_or(0, |need| self.settings.whole(need.amount));
        let what = need.map_or("tokens", |need| need.input.unit());
        match self.text {
            TextSource::Embedded => format!("{n} {what} of the embedded generated text"),
            TextSource::Assumed => {
                format!("{n} {what} of a text that is not given and taken to be long enough")
            }
            TextSource::Given => {
                let files = TextFiles::names(&self.data);
                one_line(&format!("{n} {what} of {files}"))
            }
        }
    }

    /// Its scorer, in words; `None` in benches that score no perplexity.
    fn scorer_name(&self, models: &[ResolvedModel]) -> Option<String> {
        self.settings.text("scorer")?;
        Some(match self.scorer {
            None => "none, so that P and S are missing".to_owned(),
            Some(scorer) => format!("{} is {}", models[scorer].name, models[scorer].described()),
        })
    }

    /// Its budgets, each as it is set on the command line.
    fn budgets(&self) -> String {
        let mut said = Vec::new();
        for name in BUDGETS {
            let Some((setting, value)) = self.settings.get(name) else {
                continue;
            };
            let text = match value {
                Value::Null => continue,
                Value::Array(items) => {
                    let items: Vec<String> = items.iter().map(Value::to_string).collect();
                    items.join(",")
                }
                Value::String(text) => text.trim_end_matches("_whole").to_owned(),
                other => other.to_string(),
            };
            said.push(match setting.option {
                Some(option) => format!("{} {text}", option.long()),
                None => format!("--set {name}={text}"),
            });
        }
        said.join(" ")
    }
}

impl ResolvedBench {
    /// Whose models, text and scorer it runs on.
    pub fn provenance(&self) -> Vec<String> {
        let scorers: Vec<Option<usize>> = self.rows.iter().map(|row| row.scorer).collect();
        let is_studied = |i: usize| self.rows.iter().any(|row| row.model == i);
        let models = self
            .models
            .iter()
            .enumerate()
            .filter(|(i, _)| is_studied(*i) || !scorers.contains(&Some(*i)));
        let names: Vec<(String, String)> = models
            .map(|(_, model)| (model.described(), model.name.clone()))
            .collect();
        let mut lines: Vec<String> = by_first(names)
            .into_iter()
            .map(|(own, names)| match names.len() {
                1 => format!("Model: {} is {own}.", names[0]),
                _ => format!("Models: {} are {own}.", names.join(", ")),
            })
            .collect();
        let of_rows = |of: &dyn Fn(&ResolvedRow) -> Option<String>| {
            let all = self.rows.iter();
            by_first(
                all.filter_map(|row| Some((of(row)?, row.row.model.clone())))
                    .collect(),
            )
        };
        let texts = of_rows(&|row| Some(row.text_name()));
        let scorers = of_rows(&|row| row.scorer_name(&self.models));
        for (what, all) in [("Text", texts), ("Scorer", scorers)] {
            let is_one = all.len() == 1;
            lines.extend(all.into_iter().map(|(name, models)| match is_one {
                true => format!("{what}: {name}."),
                false => format!("{what} of {}: {name}.", models.join(", ")),
            }));
        }
        lines
    }

    /// Which budgets each model has and why, each with the option that changes it.
    pub fn budgets(&self) -> Vec<String> {
        let of_row = |row: &ResolvedRow| {
            let model = &self.models[row.model];
            let deepest = row.row.real_layers.iter().max().copied().unwrap_or(0);
            let blocks = model.folder.n_layers;
            let (why, other) = match (row.profile, self.is_profile_said, model.is_embedded()) {
                (Profile::Zoo, true, _) => (" (--profile zoo)".to_owned(), "real"),
                (Profile::Real, true, _) => (" (--profile real)".to_owned(), "zoo"),
                (Profile::Zoo, false, true) => (String::new(), "real"),
                (Profile::Zoo, false, false) => (
                    format!(
                        ", because it has {blocks} blocks and the paper's layers go to {deepest}"
                    ),
                    "real",
                ),
                (Profile::Real, false, _) if row.row.is_own => {
                    (", as for every row of one's own".to_owned(), "zoo")
                }
                (Profile::Real, false, _) => (
                    format!(", because its {blocks} blocks include the paper's layers"),
                    "zoo",
                ),
            };
            let whose = match row.profile {
                Profile::Zoo => "those scaled to the embedded models",
                Profile::Real => "the paper's",
            };
            format!(
                "{whose}{why}: {}; --profile {other} takes the others",
                row.budgets()
            )
        };
        let all = self
            .rows
            .iter()
            .map(|row| (of_row(row), row.row.model.clone()));
        by_first(all.collect())
            .into_iter()
            .map(|(budgets, models)| format!("Budgets of {}: {budgets}.", models.join(", ")))
            .collect()
    }
}

/// Second values by their first, in order and each once.
fn by_first(pairs: Vec<(String, String)>) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (first, second) in pairs {
        match groups.iter_mut().find(|(known, _)| *known == first) {
            Some((_, all)) if all.contains(&second) => {}
            Some((_, all)) => all.push(second),
            None => groups.push((first, vec![second])),
        }
    }
    groups
}
