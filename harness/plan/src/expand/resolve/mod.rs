//! A bench checked against what is on disk.

mod checks;
mod resolved;
mod scorer;
mod sources;
mod text;

use std::collections::BTreeMap;

use harness_weights::{InputError, check_sae};

pub use resolved::{
    BenchRequest, EMBEDDED, Limits, NO_SCORER, Origin, ResolvedBench, ResolvedModel, ResolvedRow,
    TextSource, is_chosen, unknown_rows,
};

use resolved::Resolver;

use crate::{
    bench::{Profile, RowSpec, Settings, SettingsPatch, VariantSpec},
    expand::{PlanError, components::no_adapter},
    sources::{Answers, SaeSet},
};
use harness_contract::{
    config::{ConfigError, SettingSource, Written},
    sources::ModelFolder,
};

/// Check a bench against what is on disk, reading only small JSON files and the headers of weights;
/// plugins have said what the folders of models and SAEs are.
///
/// # Errors
/// All wrong values, those of options included, in one [`PlanError::Config`]; all missing or
/// unusable folders in one [`PlanError::Sources`]; [`PlanError::Nothing`] when filters leave
/// nothing.
pub fn resolve(request: &BenchRequest<'_>, answers: &Answers) -> Result<ResolvedBench, PlanError> {
    let mut resolver = Resolver::new(request, answers);
    let mut rows = Vec::new();
    for row in &request.spec.rows {
        if is_chosen(request.overrides, row) {
            resolver.row(row, &mut rows);
        }
    }
    resolver.check_rows(&rows);
    ConfigError::check(resolver.problems)?;
    if !resolver.sources.is_empty() {
        return Err(PlanError::Sources(resolver.sources));
    }
    if !resolver.without_adapter.is_empty() {
        return Err(no_adapter(request, &resolver.without_adapter));
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

/// What is wrong with options and names, whatever is on disk: [`resolve`] says it as well, with all
/// else that is wrong. For who cannot ask the plugins.
///
/// # Errors
/// All wrong values in one [`PlanError::Config`].
pub fn check_options(request: &BenchRequest<'_>) -> Result<(), PlanError> {
    let nothing = Answers::default();
    Ok(ConfigError::check(
        Resolver::new(request, &nothing).problems,
    )?)
}

impl<'a> Resolver<'a> {
    fn new(request: &'a BenchRequest<'a>, answers: &'a Answers) -> Resolver<'a> {
        let mut resolver = Resolver {
            request,
            answers,
            models: Vec::new(),
            problems: request.overrides.problems.clone(),
            sources: Vec::new(),
            without_adapter: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
            texts: BTreeMap::new(),
        };
        resolver.check_names();
        resolver
    }

    fn row(&mut self, row: &RowSpec, rows: &mut Vec<ResolvedRow>) {
        let request = self.request;
        let Some(model) = self.model(&row.model) else {
            return;
        };
        let set_dir = request.set_dir(row);
        let architecture = request.architecture(row);
        let set = match SaeSet::read(&row.sae, &set_dir, self.answers, architecture) {
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
        let kind = (request.kind_of)(row.kind)?;
        let (text, scorer) = (
            self.text(row, model),
            self.scorer_name(row, model, &patch, &own),
        );
        let ((data, text), scorer) = text.zip(scorer)?;
        if let Some(scorer) = scorer {
            patch.set("scorer", scorer);
        }
        let are_labels_said = request.overrides.settings.value("label_field").is_some();
        if text != TextSource::Embedded
            && !are_labels_said
            && patch.value("label_field") == spec.zoo.value("label_field")
        {
            // The labels that a bench names for the embedded models are in their text alone.
            patch.remove("label_field");
        }
        let mut settings = match Settings::complete(row.kind.settings(), &patch, &spec.origin) {
            Ok(settings) => settings,
            Err(error) => {
                for p in error.problems {
                    self.problem(&p.origin, p.message, p.hint);
                }
                return None;
            }
        };
        if let Some(limit) = request.overrides.limit
            && row.kind.has("n_features")
        {
            limit_features(&mut settings, &mut patch, limit);
        }
        self.check_row(row, model, |check| kind.check(check, &settings));
        let scorer = match settings.text("scorer") {
            Some(name) if name != NO_SCORER => Some(self.model(name)?),
            _ => None,
        };
        let saes = self.saes(row, profile, model, set, &settings);
        for error in saes.iter().filter_map(|sae| check_sae(&sae.dir).err()) {
            self.unusable(error);
        }
        self.check_row(row, model, |check| kind.check_saes(check, &settings, &saes));
        let depth_layers = if row.layers(profile).iter().all(|l| set.layers().contains(l)) {
            row.layers(profile).to_vec()
        } else {
            set.layers()
        };
        Some(ResolvedRow {
            row: row.clone(),
            kind,
            group: variant.map(|v| v.group.clone()),
            profile,
            settings,
            sources: patch.sources,
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

/// At most so many features of each SAE, which `--limit` says.
fn limit_features(settings: &mut Settings, patch: &mut SettingsPatch, limit: u32) {
    if u64::from(limit) >= settings.whole("n_features") {
        return;
    }
    settings.set("n_features", limit);
    if limit == 0 {
        // Valid, and nothing to do.
        settings.set("k", Vec::<u32>::new());
    }
    let source = SettingSource {
        value: limit.to_string(),
        from: Written::Option {
            option: format!("--limit {limit}"),
        },
    };
    patch.add_source("n_features", Some(source));
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
