//! What is asked for, what becomes of it, and the state in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use harness_contract::{
    config::{Problem, SettingSource},
    plugin::Discovery,
    sources::{Checkpoint, ModelFolder, SaeFolder},
    stages::Numerics,
};
use harness_core::{policy::Policy, suggest};
use harness_weights::InputError;

use crate::{
    bench::{BenchSpec, Overrides, Profile, RowSpec, Settings},
    expand::{Kind, KindOf, PlanError},
    sources::Answers,
};

/// The word that stands for no scorer: P and S are missing, C is there.
pub const NO_SCORER: &str = "none";
/// The word that stands for the embedded models' own text in place of files, and for their scorer.
pub const EMBEDDED: &str = "embedded";

/// Whose text a row reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextSource {
    /// The text that was generated for the embedded models.
    Embedded,
    /// Files that were given.
    Given,
    /// None yet: a prediction takes it to be there and long enough.
    Assumed,
}

/// A bench with everything that decides what it runs on.
#[derive(Clone, Debug)]
pub struct BenchRequest<'a> {
    pub spec: &'a BenchSpec,
    /// What the kinds add to planning.
    pub kind_of: KindOf,
    /// Model folders by name (`--model NAME=DIR`); others come from the zoo.
    pub models: &'a BTreeMap<String, PathBuf>,
    /// SAE sets by name (`--saes NAME=DIR`); others come from the zoo.
    pub saes: &'a BTreeMap<String, PathBuf>,
    /// The embedded models: `NAME/` and `saes/NAME/`.
    pub zoo: &'a Path,
    /// What the command line says about settings.
    pub overrides: &'a Overrides,
    /// Text for activation and grid passes (`--data`): files, folders, or the word [`EMBEDDED`].
    pub data: &'a [PathBuf],
    /// Text for passes of embedded models, used when `data` is empty.
    pub zoo_data: &'a [PathBuf],
    /// Prompts that are continued (`--prompts`).
    pub prompts: &'a [PathBuf],
    /// Prompts for embedded models, used when `prompts` and `data` are empty.
    pub zoo_prompts: &'a [PathBuf],
    /// Questions with gold answers (`--questions`).
    pub questions: &'a [PathBuf],
    /// Questions for embedded models, used when `questions` is empty.
    pub zoo_questions: &'a [PathBuf],
    /// The pool of prefixes.
    pub prefixes: &'a [String],
    /// The profile of all rows; `None` decides for each row by its model.
    pub profile: Option<Profile>,
    /// How numbers are computed.
    pub numerics: Numerics,
    /// What a worker may use.
    pub limits: Limits,
    /// Only to be predicted: text that is not given is taken to be there.
    pub is_forecast: bool,
    /// Whether SAEs that say they were made for another model are refused (`--strict-saes`).
    pub strict_saes: bool,
    /// The plugins that were found.
    pub plugins: &'a Discovery,
}

impl BenchRequest<'_> {
    /// The folders of the SAE sets that [`super::resolve`] will look at.
    pub fn set_dirs(&self) -> BTreeSet<PathBuf> {
        let rows = self.spec.rows.iter();
        rows.filter(|row| is_chosen(self.overrides, row))
            .map(|row| self.set_dir(row))
            .collect()
    }

    /// The folders of the models that [`super::resolve`] may look at.
    pub fn model_dirs(&self) -> BTreeSet<PathBuf> {
        let mut names = self.spec.models();
        names.extend(self.overrides.settings.text("scorer"));
        names.into_iter().map(|name| self.model_dir(name)).collect()
    }

    pub(super) fn model_dir(&self, name: &str) -> PathBuf {
        let given = self.models.get(name).cloned();
        given.unwrap_or_else(|| self.zoo.join(name))
    }

    pub(super) fn set_dir(&self, row: &RowSpec) -> PathBuf {
        let given = self.saes.get(&row.sae).cloned();
        given.unwrap_or_else(|| self.zoo.join("saes").join(&row.sae))
    }

    /// The SAE architecture that is named for a row, before its variants.
    pub(super) fn architecture<'r>(&'r self, row: &'r RowSpec) -> Option<&'r str> {
        let levels = [
            &self.overrides.settings,
            &row.settings,
            &self.spec.zoo,
            &self.spec.real,
            &self.spec.settings,
        ];
        levels
            .into_iter()
            .find_map(|level| level.text("architecture"))
    }
}

/// What a worker may use. Results do not depend on it, but for rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Rows of a batch (`--batch`); the bench's or the engine's when absent.
    pub batch: Option<u32>,
    /// Bytes of memory of one worker, 0 when nothing is known about it.
    pub memory: u64,
}

/// Where a folder came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The embedded models.
    Zoo,
    /// The command line.
    Given,
}

/// A bench checked against what is on disk.
#[derive(Clone, Debug)]
pub struct ResolvedBench {
    pub spec: BenchSpec,
    /// How numbers are computed.
    pub numerics: Numerics,
    /// What a worker may use.
    pub limits: Limits,
    /// The pool of prefixes.
    pub prefixes: Vec<String>,
    /// Models that are run, in order of first use.
    pub models: Vec<ResolvedModel>,
    /// What is run, in the order of the bench.
    pub rows: Vec<ResolvedRow>,
    /// Folders of SAE sets that are passed over, and what should be known of files of checkpoints.
    pub warnings: Vec<String>,
    /// Whether SAEs that say they were made for another model are refused.
    pub strict_saes: bool,
    /// Whether the command line says which budgets it has.
    pub is_profile_said: bool,
    /// What a person should know of what was given, such as files of a folder that are passed over.
    pub notes: Vec<String>,
}

/// A model that is run.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedModel {
    /// Its name in the bench.
    pub name: String,
    pub folder: ModelFolder,
    /// Where the folder came from.
    pub origin: Origin,
}

/// A model with an SAE set and the settings of one variant.
#[derive(Clone, Debug)]
pub struct ResolvedRow {
    /// The row of the bench.
    pub row: RowSpec,
    pub kind: Kind,
    /// Group of the variant, if the bench has variants.
    pub group: Option<String>,
    /// The profile its settings come from.
    pub profile: Profile,
    pub settings: Settings,
    /// What was said about each setting and where, what counts first.
    pub sources: BTreeMap<&'static str, Vec<SettingSource>>,
    /// Index of its model in [`ResolvedBench::models`].
    pub model: usize,
    /// Index of its scorer in [`ResolvedBench::models`], where it has one.
    pub scorer: Option<usize>,
    /// Layers from which depth is counted.
    pub depth_layers: Vec<u32>,
    /// SAEs that are run, by layer and k.
    pub saes: Vec<SaeFolder>,
    /// Whether the command line named the folder of its SAE set.
    pub is_set_given: bool,
    /// Files it reads: text, prompts that are continued, or questions.
    pub data: Vec<PathBuf>,
    /// Whose text that is.
    pub text: TextSource,
}

impl ResolvedRow {
    /// What its SAEs were trained on.
    ///
    /// # Errors
    /// A row of a bench that runs nothing.
    pub fn policy(&self) -> Result<Policy, PlanError> {
        let not_run = || PlanError::Nothing {
            reason: format!("{} is no row that is run", self.row.sae),
        };
        self.row.policy.ok_or_else(not_run)
    }

    /// Why a kind cannot expand it: its settings are those of another.
    pub fn of_another_kind(&self) -> PlanError {
        PlanError::Nothing {
            reason: format!(
                "{} is no row of {} bench",
                self.row.sae,
                self.row.kind.a_name()
            ),
        }
    }
}

/// A bench on its way to a [`ResolvedBench`].
pub(super) struct Resolver<'a> {
    pub request: &'a BenchRequest<'a>,
    /// What plugins have said of folders.
    pub answers: &'a Answers,
    pub models: Vec<ResolvedModel>,
    pub problems: Vec<Problem>,
    pub sources: Vec<InputError>,
    /// Checkpoints that no adapter reads.
    pub without_adapter: Vec<Checkpoint>,
    pub warnings: Vec<String>,
    pub notes: Vec<String>,
    /// Files of texts by what was given; `None` where they cannot be used.
    pub texts: BTreeMap<&'a [PathBuf], Option<Vec<PathBuf>>>,
}

impl Resolver<'_> {
    pub fn problem(&mut self, origin: &str, message: String, hint: impl Into<String>) {
        let problem = Problem::new(origin, message, hint);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Something that should be known and stops nothing, once.
    pub fn warn(&mut self, line: String) {
        if !self.warnings.contains(&line) {
            self.warnings.push(line);
        }
    }
}

/// Whether the command line leaves a row in.
pub fn is_chosen(overrides: &Overrides, row: &RowSpec) -> bool {
    match &overrides.rows {
        Some(names) => names.iter().any(|name| row.is_called(name)),
        None => true,
    }
}

/// Names after `--rows` that call no row of a bench.
pub fn unknown_rows(spec: &BenchSpec, overrides: &Overrides) -> Vec<Problem> {
    let names = overrides.rows.iter().flatten();
    let unknown = names.filter(|name| !spec.rows.iter().any(|row| row.is_called(name)));
    let full: Vec<String> = spec
        .rows
        .iter()
        .map(|row| format!("{}/{}", row.model, row.sae))
        .collect();
    let problem = |name: &String| {
        let known: Vec<&str> = match name.contains('/') {
            true => full.iter().map(String::as_str).collect(),
            false => spec.sae_sets(),
        };
        Problem::new(
            format!("--rows {name}"),
            format!("the bench has no row `{name}`"),
            suggest::hint(name, known),
        )
    };
    unknown.map(problem).collect()
}
