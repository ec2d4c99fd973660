use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use harness_core::suggest;

use crate::{
    bench::{BenchSpec, Overrides, Profile, RowSpec, Settings, SettingsPatch, VariantSpec},
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
    /// Text for activation passes (`--data`).
    pub data: &'a [PathBuf],
    /// Text for activation passes of embedded models, used when `data` is empty.
    pub zoo_data: &'a [PathBuf],
    /// The pool of prefixes.
    pub prefixes: &'a [String],
    /// The profile of all rows; `None` decides for each row by its model.
    pub profile: Option<Profile>,
    /// How numbers are computed.
    pub numerics: Numerics,
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
    /// Index of its scorer in [`ResolvedBench::models`].
    pub scorer: usize,
    /// Layers from which depth is counted.
    pub depth_layers: Vec<u32>,
    /// SAEs that are run, by layer and k.
    pub saes: Vec<SaeFolder>,
    /// Text of its activation pass.
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
        resolver.row(row, &mut rows);
    }
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
        prefixes: request.prefixes.to_vec(),
        models: resolver.models,
        rows,
    })
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

    /// `--model` and `--saes` must name something the bench runs.
    fn check_names(&mut self) {
        let request = self.request;
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
        let patch: SettingsPatch = request.overrides.settings.or(&own);
        let mut settings = match patch.complete(&spec.origin) {
            Ok(settings) => settings,
            Err(error) => {
                for p in error.problems {
                    self.problem(&p.origin, p.message, p.hint);
                }
                return None;
            }
        };
        if let Some(limit) = request.overrides.limit {
            settings.n_features = settings.n_features.min(limit);
        }
        if settings.n_features == 0 {
            // `--limit 0`: valid, and nothing to do.
            settings.k.clear();
        }
        self.check_settings(row, &settings);
        let scorer = self.model(&settings.scorer)?;
        let data = self.data(row, profile, model)?;
        let saes = self.saes(row, profile, model, set, &settings);
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

    fn check_settings(&mut self, row: &RowSpec, settings: &Settings) {
        let pool = self.request.prefixes.len();
        if settings.n_prefix as usize > pool {
            let message = format!("`n_prefix` is {} for {}", settings.n_prefix, row.sae);
            self.problem(
                &self.request.spec.origin.clone(),
                message,
                format!("the pool has {pool} prefixes"),
            );
        }
    }

    /// The SAEs of a row: its layers × its k sweep, or what the filters ask for and the set has.
    fn saes(
        &mut self,
        row: &RowSpec,
        profile: Profile,
        model: usize,
        set: &SaeSet,
        settings: &Settings,
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
            for &k in &settings.k {
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
        if !request.data.is_empty() {
            return Some(request.data.to_vec());
        }
        if profile == Profile::Real && self.models[model].origin == Origin::Given {
            let message = format!("`{}` needs text for its activation pass", row.model);
            self.problem(
                "--data",
                message,
                "give held-out text with --data FILE (jsonl or text, also as .gz or .zst, or parquet)",
            );
            return None;
        }
        Some(request.zoo_data.to_vec())
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
