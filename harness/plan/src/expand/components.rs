use std::collections::BTreeMap;

use harness_core::suggest;
use harness_weights::InputError;

use super::{BenchRequest, PlanError, ResolvedBench};
use harness_contract::{
    config::{ConfigError, Problem, Written},
    judging::REPLAY,
    plugin::Discovery,
    sources::Checkpoint,
    stages::PluginRef,
};

/// The kinds of components that settings name, in the order in which they are looked for.
const KINDS: [&str; 5] = ["sae", "steering", "judge", "remasker", "metric"];

/// Components the bench needs, found among the plugins.
pub(super) struct Components {
    found: BTreeMap<(&'static str, String), PluginRef>,
}

impl Components {
    pub(super) fn find(
        bench: &ResolvedBench,
        plugins: &Discovery,
    ) -> Result<Components, PlanError> {
        let mut found = BTreeMap::new();
        let mut problems: Vec<Problem> = Vec::new();
        let mut need = |kind: &'static str, name: &str| {
            let key = (kind, name.to_owned());
            if found.contains_key(&key) {
                return;
            }
            // A model is named by its `model_type`.
            let hit = match kind {
                "model" => plugins.model_for_type(name),
                _ => plugins.component(kind, name).map(|plugin| (plugin, name)),
            };
            if let Some((plugin, component)) = hit {
                let component = PluginRef {
                    kind: kind.to_owned(),
                    name: component.to_owned(),
                    plugin: plugin.manifest.id.clone(),
                    hash: plugin.hash.clone(),
                };
                found.insert(key, component);
                return;
            }
            let problem = missing(bench, plugins, kind, name);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        };
        for row in &bench.rows {
            for model in [Some(row.model), row.scorer].into_iter().flatten() {
                need("model", &bench.models[model].folder.checkpoint.model_type);
            }
            let is_diffusion = bench.models[row.model].folder.is_diffusion;
            for kind in KINDS {
                if kind == "remasker" && !is_diffusion {
                    continue;
                }
                for name in row.settings.components(kind) {
                    // Replay is the harness's own: what a plugin answered is read from files.
                    if (kind, name) != ("judge", REPLAY) {
                        need(kind, name);
                    }
                }
            }
        }
        match problems.is_empty() {
            true => Ok(Components { found }),
            false if plugins.refused.is_empty() => {
                Err(PlanError::Unknown(ConfigError { problems }))
            }
            false => Err(PlanError::Plugins(problems)),
        }
    }

    /// A component that [`Components::find`] has found.
    pub(super) fn get(&self, kind: &'static str, name: &str) -> PluginRef {
        self.found
            .get(&(kind, name.to_owned()))
            .cloned()
            .unwrap_or_else(|| PluginRef {
                kind: kind.to_owned(),
                name: name.to_owned(),
                plugin: String::new(),
                hash: String::new(),
            })
    }
}

/// Why checkpoints cannot be run whose `model_type` no adapter reads.
pub(super) fn no_adapter(request: &BenchRequest<'_>, checkpoints: &[Checkpoint]) -> PlanError {
    let plugins = request.plugins;
    let components = plugins.found.iter().flat_map(|p| &p.manifest.components);
    let known: Vec<&str> = components
        .flat_map(|c| c.model_types.iter().map(String::as_str))
        .collect();
    let unread = |model_type: &str| format!("no model adapter reads model_type `{model_type}`");
    if plugins.refused.is_empty() {
        // Nothing is wrong with the bench: a checkpoint is of a kind that nobody here reads.
        let error = |checkpoint: &Checkpoint| {
            let message = format!(
                "{}; remote code is never run; adapters available: {}",
                unread(&checkpoint.model_type),
                known.join(", ")
            );
            InputError::unusable(&checkpoint.dir.join("config.json"), message)
        };
        return PlanError::Sources(checkpoints.iter().map(error).collect());
    }
    let problem = |checkpoint: &Checkpoint| {
        let message = format!(
            "{} ({}); remote code is never run",
            unread(&checkpoint.model_type),
            checkpoint.dir.display()
        );
        let hint = hint(&checkpoint.model_type, known.clone(), plugins);
        Problem::new(request.spec.origin.clone(), message, hint)
    };
    PlanError::Plugins(checkpoints.iter().map(problem).collect())
}

fn missing(bench: &ResolvedBench, plugins: &Discovery, kind: &str, name: &str) -> Problem {
    let message = format!("no plugin offers {kind} `{name}`");
    let hint = hint(name, plugins.names(kind), plugins);
    Problem::new(named_by(bench, kind), message, hint)
}

/// Names like the one that is missing, and which plugins were refused.
fn hint(name: &str, known: Vec<&str>, plugins: &Discovery) -> String {
    let mut hint = suggest::hint(name, known);
    for refused in &plugins.refused {
        hint.push_str(&format!(
            "\n  refused: {}: {}",
            refused.path.display(),
            refused.reason
        ));
    }
    hint
}

/// The option that names the components of a kind, or else the bench's file.
fn named_by(bench: &ResolvedBench, kind: &str) -> String {
    let sources = bench.rows.iter().flat_map(|row| {
        let named = row
            .settings
            .iter()
            .filter(|(setting, _)| setting.names(kind));
        named.filter_map(|(setting, _)| row.sources.get(setting.name)?.first())
    });
    let mut options = sources.filter_map(|source| match &source.from {
        Written::Option { option } => Some(option.clone()),
        Written::File { .. } | Written::Environment { .. } => None,
    });
    options.next().unwrap_or_else(|| bench.spec.origin.clone())
}
