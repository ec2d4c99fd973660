use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use harness_core::suggest;

use crate::{
    bench::{
        BenchSpec, DecodingSettings, Overrides, Profile, RowKind, RowSpec, Settings, VariantSpec,
    },
    config::{ConfigError, Problem},
    expand::PlanError,
    sources::{ModelFolder, SaeFolder, SaeSet},
    stages::Numerics,
};

/// A bench with everything that decides what it runs on.
#[derive(Clone, Debug)]
pub struct BenchRequest<'a> {
    /// The bench.
    pub spec: &'a BenchSpec,
    /// Model folders by name (`--model NAME=DIR`); others come from the zoo.
    pub models: &'a BTreeMap<String, PathBuf>,
    /// SAE sets by name (`--saes NAME=DIR`); others come from the zoo.
    pub saes: &'a BTreeMap<String, PathBuf>,
    /// The embedded models: `NAME/` and `saes/NAME/`.
    pub zoo: &'a Path,
    /// What the command line says about settings.
    pub overrides: &'a Overrides,
    /// Text for activation and grid passes (`--data`).
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
    /// The bench.
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
}

/// A model that is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedModel {
    /// Its name in the bench.
    pub name: String,
    /// Its folder.
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
    /// Its settings.
    pub settings: Settings,
    /// Index of its model in [`ResolvedBench::models`].
    pub model: usize,
    /// Index of its scorer in [`ResolvedBench::models`], of a steering bench.
    pub scorer: Option<usize>,
    /// Layers from which depth is counted.
    pub depth_layers: Vec<u32>,
    /// SAEs that are run, by layer and k.
    pub saes: Vec<SaeFolder>,
    /// Files it reads: text, or prompts that are continued.
    pub data: Vec<PathBuf>,
}

/// Check a bench against what is on disk, reading only small JSON files.
///
/// # Errors
/// All wrong values in one [`PlanError::Config`]; all missing or unusable folders in one
/// [`PlanError::Sources`]; [`PlanError::Nothing`] when filters leave nothing.
pub fn resolve(request: &BenchRequest<'_>) -> Result<ResolvedBench, PlanError> {
    let mut resolver = Resolver {
        request,
        models: Vec::new(),
        problems: Vec::new(),
        sources: Vec::new(),
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
    })
}

/// Whether the command line leaves a row in.
pub(crate) fn is_chosen(overrides: &Overrides, row: &RowSpec) -> bool {
    match &overrides.rows {
        Some(names) => names.iter().any(|name| row.is_called(name)),
        None => true,
    }
}

/// Names after `--rows` that call no row of a bench.
pub(crate) fn unknown_rows(spec: &BenchSpec, overrides: &Overrides) -> Vec<Problem> {
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
    sources: Vec<crate::sources::SourceError>,
}

impl Resolver<'_> {
    fn problem(&mut self, origin: &str, message: String, hint: impl Into<String>) {
        let problem = Problem::new(origin, message, hint);
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// `--rows`, `--model` and `--saes` must name something the bench runs.
    fn check_names(&mut self) {
        let request = self.request;
        self.problems
            .extend(unknown_rows(request.spec, request.overrides));
        let overridden_scorer = request.overrides.settings.scorer.as_deref();
        let models: Vec<&str> = request
            .spec
            .models()
            .into_iter()
            .chain(overridden_scorer)
            .collect();
        let sets = request.spec.sae_sets();
        for (option, names, given) in [
            ("--model", models, request.models),
            ("--saes", sets, request.saes),
        ] {
            for name in given.keys().filter(|n| !names.contains(&n.as_str())) {
                let hint = suggest::hint(name, names.iter().copied());
                self.problem(
                    &format!("{option} {name}"),
                    format!("the bench runs no `{name}`"),
                    hint,
                );
            }
        }
    }

    /// Rows of results of a decoding bench name the model and not the SAE set.
    fn check_models_once(&mut self, rows: &[ResolvedRow]) {
        let decoding = || rows.iter().filter(|row| row.row.kind == RowKind::Decoding);
        let twice = decoding().enumerate().find_map(|(i, row)| {
            let other = decoding().take(i).find(|other| other.model == row.model)?;
            Some((
                row.row.model.clone(),
                other.row.sae.clone(),
                row.row.sae.clone(),
            ))
        });
        if let Some((model, a, b)) = twice {
            let origin = self.request.spec.origin.clone();
            let message = format!("{model} is followed with two SAE sets, {a} and {b}");
            self.problem(
                &origin,
                message,
                format!("choose one with --rows {model}/{a}"),
            );
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
        let folder = self.models[model].folder.clone();
        if let Some(sae) = set.saes.iter().find(|s| s.d_model != folder.d_model) {
            return self.sources.push(crate::sources::SourceError::Unusable {
                path: sae.dir.clone(),
                message: format!(
                    "is an SAE for d_model {}, but {} has d_model {}; give both of one model with --model and --saes",
                    sae.d_model, row.model, folder.d_model
                ),
            });
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
        let own = variant
            .map_or(&row.settings, |v| &v.settings)
            .or(&row.settings)
            .or(level)
            .or(&spec.settings);
        let patch = request.overrides.settings.or(&own);
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
            if let Some(limit) = request.overrides.limit {
                set.n_features = set.n_features.min(limit);
            }
            if set.n_features == 0 {
                // `--limit 0`: valid, and nothing to do.
                set.k.clear();
            }
        }
        self.check_settings(row, model, &settings);
        let scorer = match &settings {
            Settings::Steering(set) => Some(self.model(&set.scorer)?),
            Settings::Documents { .. } | Settings::Rollouts { .. } | Settings::Decoding(_) => None,
        };
        let data = self.data(row, profile, model)?;
        let saes = self.saes(row, profile, model, set, settings.k());
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
            model,
            scorer,
            depth_layers,
            saes,
            data,
        })
    }

    fn check_settings(&mut self, row: &RowSpec, model: usize, settings: &Settings) {
        let origin = self.request.spec.origin.clone();
        if let Settings::Steering(set) = settings {
            let pool = self.request.prefixes.len();
            if set.n_prefix as usize > pool {
                let message = format!("`n_prefix` is {} for {}", set.n_prefix, row.sae);
                self.problem(&origin, message, format!("the pool has {pool} prefixes"));
            }
        }
        if let Settings::Decoding(set) = settings {
            self.check_decoding(row, model, set);
        }
        if let Some(grid) = settings.grid() {
            if grid.t_min > grid.t_max {
                let message = format!("`t_min` is {}, above `t_max` {}", grid.t_min, grid.t_max);
                self.problem(&origin, message, "");
            }
            if row.policy != "clean" && !self.models[model].folder.is_diffusion {
                let message = format!(
                    "{} has no masks, and SAE set {} is of policy `{}`",
                    row.model, row.sae, row.policy
                );
                let hint = "config.json of a masked-diffusion model names its mask_token_id";
                self.problem(&origin, message, hint);
            }
        }
    }

    fn check_decoding(&mut self, row: &RowSpec, model: usize, set: &DecodingSettings) {
        let origin = self.request.spec.origin.clone();
        if set.k.len() != 1 {
            let message = format!(
                "`k` has {} values: a decoding bench follows one SAE a layer",
                set.k.len()
            );
            self.problem(&origin, message, "choose one with --k");
        }
        if set.orders.is_empty() {
            let hint = "name decoding orders; `harness list plugins` shows those there are";
            self.problem(&origin, "`orders` is empty".to_owned(), hint);
        }
        if set.orders.iter().any(|order| order.is_empty()) {
            let hint = "separate names with one comma: origin,entropy";
            self.problem(&origin, "`orders` holds an empty name".to_owned(), hint);
        }
        if let Some(order) = (set.orders.iter().enumerate())
            .find(|(i, order)| set.orders[..*i].contains(order))
            .map(|(_, order)| order)
        {
            self.problem(&origin, format!("`orders` names `{order}` twice"), "");
        }
        if !self.models[model].folder.is_diffusion {
            let message = format!("{} has no masks, and so no decoding order", row.model);
            let hint = "config.json of a masked-diffusion model names its mask_token_id";
            self.problem(&origin, message, hint);
        }
        if set.dlm_steps < 2 {
            let message = "`dlm_steps` is 1: what changes from step to step needs two".to_owned();
            self.problem(&origin, message, "");
        }
    }

    /// The SAEs of a row: its layers × its k sweep, or what the filters ask for and the set has.
    fn saes(
        &mut self,
        row: &RowSpec,
        profile: Profile,
        model: usize,
        set: &SaeSet,
        ks: &[u32],
    ) -> Vec<SaeFolder> {
        let n_layers = self.models[model].folder.n_layers;
        let overrides = self.request.overrides;
        let (layers, layers_from) = match &overrides.layers {
            Some(layers) => (layers.as_slice(), "--layers"),
            None => (row.layers(profile), self.request.spec.origin.as_str()),
        };
        let ks_from = if overrides.settings.k.is_some() {
            "--k"
        } else {
            self.request.spec.origin.as_str()
        };
        let mut saes = Vec::new();
        for &layer in layers {
            if layer >= n_layers {
                let message = format!(
                    "layer {layer} out of range: {} has {n_layers} blocks, 0 to {}",
                    row.model,
                    n_layers - 1
                );
                self.problem(
                    layers_from,
                    message,
                    format!("SAE set {} has layers {}", set.name, list(&set.layers())),
                );
                continue;
            }
            let known = set.ks(layer);
            if known.is_empty() {
                if layers_from != "--layers" {
                    let message = format!("layer {layer} is not in SAE set {}", set.name);
                    self.problem(
                        layers_from,
                        message,
                        format!(
                            "it has layers {}; choose with --layers",
                            list(&set.layers())
                        ),
                    );
                }
                continue;
            }
            let d_sae = set
                .saes
                .iter()
                .filter(|s| s.layer == layer)
                .map(|s| s.d_sae)
                .max()
                .unwrap_or(0);
            for &k in ks {
                match set.get(layer, k) {
                    Some(sae) => saes.push(sae.clone()),
                    None if k > d_sae => {
                        let message = format!(
                            "`k` is {k}, more than the {d_sae} latents of SAE set {}",
                            set.name
                        );
                        self.problem(
                            ks_from,
                            message,
                            format!("layer {layer} has k {}", list(&known)),
                        );
                    }
                    None if ks_from == "--k" => {}
                    None => {
                        let message = format!("SAE set {} has no k {k} at layer {layer}", set.name);
                        self.problem(
                            ks_from,
                            message,
                            format!("it has k {}; choose with --k", list(&known)),
                        );
                    }
                }
            }
        }
        saes.sort_by_key(|s| (s.layer, s.k));
        saes
    }

    fn data(&mut self, row: &RowSpec, profile: Profile, model: usize) -> Option<Vec<PathBuf>> {
        let request = self.request;
        if row.kind == RowKind::Decoding {
            return self.questions(row, profile, model);
        }
        let is_rollout = row.kind == RowKind::Rollouts;
        let (own, zoo) = match is_rollout {
            true => (request.prompts, request.zoo_prompts),
            false => (request.data, request.zoo_data),
        };
        if let Some(given) = [own, request.data].into_iter().find(|f| !f.is_empty()) {
            return Some(given.to_vec());
        }
        if profile == Profile::Real && self.models[model].origin == Origin::Given {
            let (option, what, hint) = match row.kind {
                RowKind::Rollouts => (
                    "--prompts",
                    "prompts to continue",
                    "give them with --prompts FILE (jsonl with a field `prompt`, or `prompt_field`)",
                ),
                RowKind::Documents => (
                    "--data",
                    "text to be measured on",
                    "give held-out text with --data FILE (jsonl, jsonl.gz, jsonl.zst, parquet or plain text)",
                ),
                RowKind::Steering | RowKind::Decoding | RowKind::Catalogue => (
                    "--data",
                    "text for its activation pass",
                    "give held-out text with --data FILE (jsonl, jsonl.gz or plain text)",
                ),
            };
            let message = format!("`{}` needs {what}", row.model);
            self.problem(option, message, hint);
            return None;
        }
        Some(zoo.to_vec())
    }

    /// Files of questions. Text given with `--data` holds none.
    fn questions(&mut self, row: &RowSpec, profile: Profile, model: usize) -> Option<Vec<PathBuf>> {
        let request = self.request;
        if !request.questions.is_empty() {
            return Some(request.questions.to_vec());
        }
        if profile == Profile::Real && self.models[model].origin == Origin::Given {
            let message = format!("`{}` needs questions to answer", row.model);
            let hint = "give GSM8K's test.jsonl (or parquet, with fields `question` and `answer`) with --questions FILE";
            self.problem("--questions", message, hint);
            return None;
        }
        Some(request.zoo_questions.to_vec())
    }

    /// Index of a model, read on first use. A model that cannot be read is reported once.
    fn model(&mut self, name: &str) -> Option<usize> {
        if let Some(i) = self.models.iter().position(|m| m.name == name) {
            return Some(i);
        }
        let (dir, origin) = match self.request.models.get(name) {
            Some(dir) => (dir.clone(), Origin::Given),
            None => (self.request.zoo.join(name), Origin::Zoo),
        };
        match ModelFolder::read(name, &dir) {
            Ok(folder) => {
                self.models.push(ResolvedModel {
                    name: name.to_owned(),
                    folder,
                    origin,
                });
                Some(self.models.len() - 1)
            }
            Err(error) => {
                if !self
                    .sources
                    .iter()
                    .any(|e| e.to_string() == error.to_string())
                {
                    self.sources.push(error);
                }
                None
            }
        }
    }
}

/// The paper's budgets for a model that has the layers of the paper's, the scaled ones for a smaller model.
fn profile_of(row: &RowSpec, folder: &ModelFolder) -> Profile {
    let deepest = row.real_layers.iter().copied().max().unwrap_or(0);
    if folder.n_layers > deepest {
        Profile::Real
    } else {
        Profile::Zoo
    }
}

fn list(numbers: &[u32]) -> String {
    let unique: BTreeSet<u32> = numbers.iter().copied().collect();
    unique
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
