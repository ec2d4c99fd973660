//! `harness plugins list`: opens plugins and says what they are.

use std::path::Path;

use harness_contract::{
    exit,
    jobs::{Event, MetricNeeds, PluginsJob, RefusedReport},
    plugin::FoundPlugin,
};
use serde_json::{Value, json};

use super::{Sink, open_plugins};
use crate::{
    error::CellError,
    plugin::{Metric, MetricSpec, Registry, mark_calls_in},
};

/// Result: `{"loaded": [...], "refused": [...]}`; exit code 21 when a plugin was refused.
///
/// # Errors
/// A folder that cannot be read.
pub fn run(job: &PluginsJob, sink: Sink<'_>) -> Result<u8, CellError> {
    if let Some(marker) = &job.call_marker {
        // Without it the host has to find out by itself which plugin ends this process.
        let _ = mark_calls_in(marker);
    }
    // With this event the host knows that the worker itself runs: what ends it from here on is a
    // plugin.
    sink(Event::Progress {
        done: 0,
        total: 1,
        text: "opening plugins".to_owned(),
        seconds_left: None,
    });
    let registry = open_plugins(&job.plugins)?;
    let refused = refused(&registry);
    let code = if refused.is_empty() {
        exit::OK
    } else {
        exit::PLUGIN_REFUSED
    };
    sink(Event::Result {
        value: json!({"loaded": loaded(&registry, job.metrics), "refused": refused}),
    });
    Ok(code)
}

/// The plugins that were opened, each described; with `metrics` those among them say what they
/// compute and need.
pub(super) fn loaded(registry: &Registry, metrics: bool) -> Vec<Value> {
    let plugins = registry.plugins().iter();
    plugins
        .map(|plugin| describe(&plugin.found, metrics.then_some(registry)))
        .collect()
}

/// The plugins that were not, with the reasons.
pub(super) fn refused(registry: &Registry) -> Vec<RefusedReport> {
    let plugins = registry.refused().iter();
    plugins
        .map(|refused| RefusedReport {
            path: shown(&refused.path),
            id: refused.id.clone(),
            reason: refused.reason.clone(),
        })
        .collect()
}

/// A path for a person: one that is not UTF-8 has no JSON form of its own.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn needs(metric: &Metric) -> Vec<MetricNeeds> {
    let needs = |spec: MetricSpec| MetricNeeds {
        name: spec.name,
        requires: spec.requires,
    };
    metric.spec().into_iter().map(needs).collect()
}

/// A plugin as its manifest says; its library has been found to agree. With a registry, metrics say
/// what they compute and need.
fn describe(found: &FoundPlugin, metrics: Option<&Registry>) -> Value {
    let manifest = &found.manifest;
    let components: Vec<Value> = manifest
        .components
        .iter()
        .map(|component| {
            let mut described = json!({
                "kind": component.kind,
                "name": component.name,
                "summary": component.summary,
                "model_types": component.model_types,
            });
            if let Some(registry) = metrics.filter(|_| component.kind == "metric") {
                match registry.metric(&component.name, &json!({})) {
                    Ok(metric) => described["values"] = json!(needs(&metric)),
                    Err(error) => described["error"] = json!(error.to_string()),
                }
            }
            described
        })
        .collect();
    json!({
        "id": manifest.id,
        "version": manifest.version,
        "abi": format!("{}.{}", manifest.abi.0, manifest.abi.1),
        "torch": manifest.torch,
        "path": shown(&found.manifest_path),
        "library": shown(&found.library),
        "hash": found.hash,
        "license": manifest.licence,
        "authors": manifest.authors,
        "summary": manifest.summary,
        "homepage": manifest.homepage,
        "components": components,
    })
}
