//! `harness plugins list`: opens plugins and says what they are.

use harness_plan::{
    exit,
    jobs::{Event, PluginsJob},
    plugin::FoundPlugin,
};
use serde_json::{Value, json};

use super::{Sink, unreadable};
use crate::{plugin::Registry, run::CellError};

/// Result: `{"loaded": [...], "refused": [...]}`; exit code 21 when a plugin was refused.
pub(super) fn run(job: &PluginsJob, sink: Sink<'_>) -> Result<u8, CellError> {
    let registry = Registry::load(&job.plugins).map_err(|error| unreadable(&error))?;
    let loaded: Vec<Value> = registry
        .plugins()
        .iter()
        .map(|plugin| describe(&plugin.found))
        .collect();
    let refused: Vec<Value> = registry
        .refused()
        .iter()
        .map(|refused| json!({"path": refused.path, "id": refused.id, "reason": refused.reason}))
        .collect();
    let code = if refused.is_empty() {
        exit::OK
    } else {
        exit::PLUGIN_REFUSED
    };
    sink(Event::Result {
        value: json!({"loaded": loaded, "refused": refused}),
    });
    Ok(code)
}

/// A plugin as its manifest says; its library has been found to agree.
fn describe(found: &FoundPlugin) -> Value {
    let manifest = &found.manifest;
    let components: Vec<Value> = manifest
        .components
        .iter()
        .map(|component| {
            json!({
                "kind": component.kind,
                "name": component.name,
                "summary": component.summary,
                "model_types": component.model_types,
            })
        })
        .collect();
    json!({
        "id": manifest.id,
        "version": manifest.version,
        "abi": format!("{}.{}", manifest.abi.0, manifest.abi.1),
        "torch": manifest.torch,
        "path": found.manifest_path,
        "library": found.library,
        "hash": found.hash,
        "license": manifest.licence,
        "authors": manifest.authors,
        "summary": manifest.summary,
        "homepage": manifest.homepage,
        "components": components,
    })
}
