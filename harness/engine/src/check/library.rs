//! Tests of a library as a whole.

use std::{fs, path::PathBuf, time::Instant};

use harness_contract::plugin::{FoundPlugin, KINDS};

use super::{
    job::unknown,
    list::Named,
    verdict::{Checked, Ended, ensure},
};
use crate::plugin::Registry;

pub(super) const TESTS: &[Named] = &[
    ("manifest", "plugin.toml says all that the host shows"),
    ("load", "the library opens and agrees with plugin.toml"),
    ("load-twice", "opening it again gives the same components"),
    ("quiet", "opening is quick and starts no threads"),
];

/// Longest time that opening a library may take without a warning, libtorch not counted: the worker has it already.
const OPEN_MS: u128 = 500;

pub(super) fn run(test: &str, plugin: &FoundPlugin) -> Checked {
    match test {
        "manifest" => manifest(plugin),
        "load" => open(plugin).map(|_| ()),
        "load-twice" => load_twice(plugin),
        "quiet" => quiet(plugin),
        other => unknown(other),
    }
}

/// Opens one plugin, and no other of its folder.
pub(super) fn open(plugin: &FoundPlugin) -> Result<Registry, Ended> {
    let folder: PathBuf = plugin
        .manifest_path
        .parent()
        .map_or_else(|| PathBuf::from("."), PathBuf::from);
    let registry = Registry::load(&[folder])?;
    if let Some(refused) = registry.refused().first() {
        return Err(Ended::failed(format!("refused: {}", refused.reason)));
    }
    Ok(registry)
}

fn manifest(plugin: &FoundPlugin) -> Checked {
    let manifest = &plugin.manifest;
    let mut missing: Vec<String> = manifest.warnings.iter().map(ToString::to_string).collect();
    if manifest.licence.is_none() {
        missing.push("`license` is missing".to_owned());
    }
    if manifest.summary.is_none() {
        missing.push("`summary` is missing".to_owned());
    }
    for component in &manifest.components {
        if component.summary.is_empty() {
            missing.push(format!(
                "{} `{}` has no summary",
                component.kind, component.name
            ));
        }
        if component.kind == "model" && component.model_types.is_empty() {
            missing.push(format!(
                "model `{}` names no model_types: it is found by its name only",
                component.name
            ));
        }
        ensure(
            !component.name.is_empty()
                && component
                    .name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')),
            || {
                format!(
                    "the component's name `{}` has characters other than letters, digits, -, _ and .",
                    component.name
                )
            },
        )?;
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Ended::warning(missing.join("; ")))
    }
}

fn load_twice(plugin: &FoundPlugin) -> Checked {
    let names = |registry: &Registry| -> Vec<String> {
        registry
            .components()
            .map(|component| format!("{} {}", component.kind, component.name))
            .collect()
    };
    let first = open(plugin)?;
    let second = open(plugin)?;
    let (first, second) = (names(&first), names(&second));
    ensure(first == second, || {
        format!("the first time it offers {first:?}, the second {second:?}")
    })?;
    let known = |name: &String| KINDS.iter().any(|kind| name.starts_with(kind));
    ensure(first.iter().any(known), || {
        "it offers no component of a known kind".to_owned()
    })
}

fn quiet(plugin: &FoundPlugin) -> Checked {
    let (threads, started) = (threads(), Instant::now());
    open(plugin)?;
    let took = started.elapsed().as_millis();
    let now = self::threads();
    if now > threads {
        return Err(Ended::warning(format!(
            "opening it starts {} threads",
            now - threads
        )));
    }
    if took > OPEN_MS {
        return Err(Ended::warning(format!("opening it takes {took} ms")));
    }
    Ok(())
}

/// Threads of this process; 0 where they cannot be counted.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
