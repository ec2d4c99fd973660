use std::collections::BTreeMap;

use harness_core::suggest;
use harness_weights::InputError;

use super::{PlanError, ResolvedBench};
use harness_contract::{
    config::{ConfigError, Problem, Written},
    judging::REPLAY,
    plugin::Discovery,
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
        let mut unread: Vec<InputError> = Vec::new();
        let mut need = |kind: &'static str, name: &str, is_model_type: bool| {
            let key = (kind, name.to_owned());
            if found.contains_key(&key) {
                return;
            }
            let hit = if is_model_type {
                plugins
                    .model_for_type(name)
                    .map(|(plugin, component)| (plugin, component.to_owned()))
            } else {
                plugins
                    .component(kind, name)
                    .map(|plugin| (plugin, name.to_owned()))
            };
            if let Some((plugin, component)) = hit {
                let (plugin, hash) = (plugin.manifest.id.clone(), plugin.hash.clone());
                found.insert(
                    key,
                    PluginRef {
                        kind: kind.to_owned(),
                        name: component,
                        plugin,
                        hash,
                    },
                );
                return;
            }
            let problem = missing(bench, plugins, kind, name, is_model_type);
            if !problems.contains(&problem) {
                problems.push(problem);
                unread.extend(is_model_type.then(|| no_adapter(bench, plugins, name)));
            }
        };
        for row in &bench.rows {
            for model in [Some(row.model), row.scorer].into_iter().flatten() {
                need("model", &bench.models[model].folder.model_type, true);
            }
            let is_diffusion = bench.models[row.model].folder.is_diffusion;
            for kind in KINDS {
                if kind == "remasker" && !is_diffusion {
                    continue;
                }
                for name in row.settings.components(kind) {
                    // Replay is the harness's own: what a plugin answered is read from files.
                    if (kind, name) != ("judge", REPLAY) {
                        need(kind, name, false);
                    }
                }
            }
        }
        match problems.is_empty() {
            true => Ok(Components { found }),
            // Nothing is wrong with the bench: a checkpoint is of a kind that nobody here reads.
            false if plugins.refused.is_empty() && unread.len() == problems.len() => {
                Err(PlanError::Sources(unread))
            }
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

/// A checkpoint whose `model_type` no adapter reads.
fn no_adapter(bench: &ResolvedBench, plugins: &Discovery, model_type: &str) -> InputError {
    let dir = (bench.models.iter())
        .find(|m| m.folder.model_type == model_type)
        .map(|m| m.folder.dir.join("config.json"));
    let message = format!(
        "no model adapter reads model_type `{model_type}`; remote code is never run; adapters available: {}",
        model_types(plugins).join(", ")
    );
    InputError::unusable(&dir.unwrap_or_default(), message)
}

fn model_types(plugins: &Discovery) -> Vec<&str> {
    let components = plugins.found.iter().flat_map(|p| &p.manifest.components);
    components
        .flat_map(|c| c.model_types.iter().map(String::as_str))
        .collect()
}

fn missing(
    bench: &ResolvedBench,
    plugins: &Discovery,
    kind: &str,
    name: &str,
    is_model_type: bool,
) -> Problem {
    let message = if is_model_type {
        let folder = bench
            .models
            .iter()
            .find(|m| m.folder.model_type == name)
            .map(|m| m.folder.dir.display().to_string());
        format!(
            "no model adapter reads model_type `{name}` ({}); remote code is never run",
            folder.unwrap_or_default()
        )
    } else {
        format!("no plugin offers {kind} `{name}`")
    };
    let known = if is_model_type {
        model_types(plugins)
    } else {
        plugins.names(kind)
    };
    let mut hint = suggest::hint(name, known);
    for refused in &plugins.refused {
        hint.push_str(&format!(
            "\n  refused: {}: {}",
            refused.path.display(),
            refused.reason
        ));
    }
    Problem::new(named_by(bench, kind), message, hint)
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
