//! A bench checked against what is on disk.

mod checks;
mod scorer;
mod sources;
mod text;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use harness_core::suggest;
use harness_weights::{InputError, check_sae};
use sae_folder::SaeFolder;

pub use scorer::NO_SCORER;
pub use text::{EMBEDDED, TextSource};

use crate::{
    bench::{BenchSpec, Overrides, Profile, RowSpec, Settings, VariantSpec},
    expand::PlanError,
    sources::SaeSet,
};
use harness_contract::{
    config::{ConfigError, Problem, Said, Written},
    sources::ModelFolder,
    stages::Numerics,
};

/// A bench with everything that decides what it runs on.
#[derive(Clone, Debug)]
pub struct BenchRequest<'a> {
    pub spec: &'a BenchSpec,
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Group of the variant, if the bench has variants.
    pub group: Option<String>,
    /// The profile its settings come from.
    pub profile: Profile,
    pub settings: Settings,
    /// What was said about each setting and where, what counts first.
    pub said: BTreeMap<&'static str, Vec<Said>>,
    /// Index of its model in [`ResolvedBench::models`].
    pub model: usize,
    /// Index of its scorer in [`ResolvedBench::models`], of a steering bench.
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

/// Check a bench against what is on disk, reading only small JSON files and the headers of weights.
///
/// # Errors
/// All wrong values, those of options included, in one [`PlanError::Config`]; all missing or
/// unusable folders in one [`PlanError::Sources`]; [`PlanError::Nothing`] when filters leave
/// nothing.
pub fn resolve(request: &BenchRequest<'_>) -> Result<ResolvedBench, PlanError> {
    let mut resolver = Resolver {
        request,
        models: Vec::new(),
        problems: request.overrides.problems.clone(),
        sources: Vec::new(),
        warnings: Vec::new(),
        notes: Vec::new(),
        texts: BTreeMap::new(),
    };
    resolver.check_names();
    let mut rows = Vec::new();
    for row in &request.spec.rows {
        if is_chosen(request.overrides, row) {
            resolver.row(row, &mut rows);
        }
    }
    resolver.check_models_once(&rows);
    ConfigError::check(resolver.problems)?;
    if !resolver.sources.is_empty() {
        return Err(PlanError::Sources(resolver.sources));
    }
    rows.retain(|row| !row.saes.is_empty());
    if rows.is_empty() {
        let reason =
            "no SAE of the bench has the layers and k asked for with --layers and --k".to_owned();
        return Err(PlanError::Nothing { reason });
    }
    Ok(ResolvedBench {
        spec: request.spec.clone(),
        numerics: request.numerics,
        limits: request.limits,
        prefixes: request.prefixes.to_vec(),
        models: resolver.models,
        rows,
        warnings: resolver.warnings,
        strict_saes: request.strict_saes,
        is_profile_said: request.profile.is_some(),
        notes: resolver.notes,
    })
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

struct Resolver<'a> {
    request: &'a BenchRequest<'a>,
    models: Vec<ResolvedModel>,
    problems: Vec<Problem>,
    sources: Vec<InputError>,
    warnings: Vec<String>,
    notes: Vec<String>,
    /// Files of texts by what was given; `None` where they cannot be used.
    texts: BTreeMap<&'a [PathBuf], Option<Vec<PathBuf>>>,
}

impl Resolver<'_> {
    fn problem(&mut self, origin: &str, message: String, hint: impl Into<String>) {
        let problem = Problem::new(origin, message, hint);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Something that should be known and stops nothing, once.
    fn warn(&mut self, line: String) {
        if !self.warnings.contains(&line) {
            self.warnings.push(line);
        }
    }

    fn row(&mut self, row: &RowSpec, rows: &mut Vec<ResolvedRow>) {
        let request = self.request;
        let Some(model) = self.model(&row.model) else {
            return;
        };
        let set_dir = request
            .saes
            .get(&row.sae)
            .cloned()
            .unwrap_or_else(|| request.zoo.join("saes").join(&row.sae));
        let set = match SaeSet::read(&row.sae, &set_dir) {
            Ok(set) => set,
            Err(error) => return self.sources.push(error),
        };
        for passed in &set.passed_over {
            let line = format!(
                "SAE set {}: {} is passed over: {}",
                set.name,
                passed.dir.display(),
                passed.why
            );
            self.warn(line);
        }
        let folder = self.models[model].folder.clone();
        if let Some(sae) = set.saes.iter().find(|s| s.d_model != folder.d_model) {
            let message = format!(
                "is an SAE for d_model {}, but {} has d_model {}; give both of one model with \
                 --model and --saes",
                sae.d_model, row.model, folder.d_model
            );
            return self.unusable(InputError::unusable(&sae.dir, message));
        }
        let profile = request.profile.unwrap_or_else(|| profile_of(row, &folder));
        let variants: Vec<Option<&VariantSpec>> = match request.spec.variants.as_slice() {
            [] => vec![None],
            all => all.iter().filter(|v| v.sae == row.sae).map(Some).collect(),
        };
        for variant in variants {
            if let Some(resolved) = self.variant(row, variant, profile, model, &set) {
                rows.push(resolved);
            }
        }
    }

    fn variant(
        &mut self,
        row: &RowSpec,
        variant: Option<&VariantSpec>,
        profile: Profile,
        model: usize,
        set: &SaeSet,
    ) -> Option<ResolvedRow> {
        let request = self.request;
        let spec = request.spec;
        let level = if profile == Profile::Zoo {
            &spec.zoo
        } else {
            &spec.real
        };
        let own = row.settings.or(level).or(&spec.settings);
        let own = variant.map_or_else(|| own.clone(), |v| v.settings.or(&own));
        let mut patch = request.overrides.settings.or(&own);
        let (text, scorer) = (
            self.text(row, model),
            self.scorer_name(row, model, &patch, &own),
        );
        let ((data, text), scorer) = text.zip(scorer)?;
        patch.scorer = scorer.or(patch.scorer);
        let are_labels_said = request.overrides.settings.label_field.is_some();
        if text != TextSource::Embedded
            && !are_labels_said
            && patch.label_field == spec.zoo.label_field
        {
            // The labels that a bench names for the embedded models are in their text alone.
            patch.label_field = None;
            patch.said.remove("label_field");
        }
        let mut settings = match Settings::complete(row.kind, &patch, &spec.origin) {
            Ok(settings) => settings?,
            Err(error) => {
                for p in error.problems {
                    self.problem(&p.origin, p.message, p.hint);
                }
                return None;
            }
        };
        if let Settings::Steering(set) = &mut settings {
            if let Some(limit) = request.overrides.limit.filter(|n| *n < set.n_features) {
                set.n_features = limit;
                let from = Written::Option {
                    option: format!("--limit {limit}"),
                };
                let value = limit.to_string();
                patch.say("n_features", Some(Said { value, from }));
            }
            if set.n_features == 0 {
                // `--limit 0`: valid, and nothing to do.
                set.k.clear();
            }
        }
        self.check_settings(row, model, &settings);
        let scorer = match &settings {
            Settings::Steering(set) if set.scorer != NO_SCORER => Some(self.model(&set.scorer)?),
            _ => None,
        };
        let saes = self.saes(row, profile, model, set, &settings);
        for error in saes.iter().filter_map(|sae| check_sae(&sae.dir).err()) {
            self.unusable(error);
        }
        self.check_latents(row, &settings, &saes);
        let depth_layers = if row.layers(profile).iter().all(|l| set.layers().contains(l)) {
            row.layers(profile).to_vec()
        } else {
            set.layers()
        };
        Some(ResolvedRow {
            row: row.clone(),
            group: variant.map(|v| v.group.clone()),
            profile,
            settings,
            said: patch.said,
            model,
            scorer,
            depth_layers,
            saes,
            is_set_given: request.saes.contains_key(&row.sae),
            data,
            text,
        })
    }
}

/// The paper's budgets for a model that has the layers of the paper's, the scaled ones for a
/// smaller model.
fn profile_of(row: &RowSpec, folder: &ModelFolder) -> Profile {
    let deepest = row.real_layers.iter().copied().max().unwrap_or(0);
    if folder.n_layers > deepest {
        Profile::Real
    } else {
        Profile::Zoo
    }
}
