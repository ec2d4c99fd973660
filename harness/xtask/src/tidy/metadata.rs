//! The workspace's members as `cargo metadata` describes them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::Workspace;

/// A member of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// Its folder, from the repository's root, with forward slashes.
    pub folder: String,
    /// What its Cargo.toml asks for directly.
    pub dependencies: Vec<Dependency>,
    /// The names of the shared libraries it builds, without prefix and suffix.
    pub cdylibs: Vec<String>,
}

/// One entry of a dependency table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The package asked for.
    pub name: String,
    /// Only for tests, examples and benches.
    pub dev: bool,
}

/// What each package links, ours and others', by its name: the graph as cargo resolves it for this
/// kind of machine. Optional dependencies count, since a feature may turn them on.
pub type Links = BTreeMap<String, Vec<Dependency>>;

/// Asks cargo.
///
/// # Errors
/// When cargo fails, for instance on a Cargo.toml that does not parse.
pub fn read(ws: &Workspace) -> Result<(Vec<Member>, Links)> {
    let mut rustc = ws.command("rustc");
    let host = answer(rustc.args(["--print", "host-tuple"]), "rustc")?;
    let host = String::from_utf8_lossy(&host).trim().to_owned();
    let mut cargo = ws.cargo();
    cargo.args(["metadata", "--format-version", "1", "--all-features"]);
    let output = answer(cargo.args(["--filter-platform", &host]), "cargo metadata")?;
    let value: Value = serde_json::from_slice(&output)
        .context("cargo metadata answered with something else than JSON")?;
    Ok((members(&value, &ws.root)?, links(&value)?))
}

fn answer(command: &mut Command, what: &str) -> Result<Vec<u8>> {
    let output = (command.output()).with_context(|| format!("{what} cannot be started"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{what} failed:\n{}", said.trim_end());
    }
    Ok(output.stdout)
}

fn packages(metadata: &Value) -> Result<&Vec<Value>> {
    let packages = metadata["packages"].as_array();
    packages.context("cargo metadata lists no packages")
}

/// The workspace's members among the packages.
fn members(metadata: &Value, root: &Path) -> Result<Vec<Member>> {
    let ids = metadata["workspace_members"].as_array();
    let ids = ids.context("cargo metadata lists no members")?;
    (packages(metadata)?.iter())
        .filter(|package| ids.contains(&package["id"]))
        .map(|package| member(package, root))
        .collect()
}

fn links(metadata: &Value) -> Result<Links> {
    let names: BTreeMap<&str, &str> = (packages(metadata)?.iter())
        .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array();
    let mut links = Links::new();
    for node in nodes.context("cargo metadata resolves nothing")? {
        let name = |id: &Value| names.get(id.as_str()?).map(|name| (*name).to_owned());
        let own =
            name(&node["id"]).context("cargo metadata resolves a package it does not list")?;
        for used in node["deps"].as_array().into_iter().flatten() {
            let kinds = used["dep_kinds"].as_array();
            let is = |kind: Option<&str>| {
                kinds.is_some_and(|kinds| kinds.iter().any(|k| k["kind"].as_str() == kind))
            };
            if let Some(name) = name(&used["pkg"]).filter(|_| is(None) || is(Some("dev"))) {
                let dev = !is(None);
                links
                    .entry(own.clone())
                    .or_default()
                    .push(Dependency { name, dev });
            }
        }
    }
    Ok(links)
}

fn member(package: &Value, root: &Path) -> Result<Member> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let name = text(&package["name"]).context("a package without a name")?;
    let manifest =
        text(&package["manifest_path"]).with_context(|| format!("{name} without manifest_path"))?;
    let folder = Path::new(&manifest)
        .parent()
        .and_then(|folder| folder.strip_prefix(root).ok());
    let folder = folder
        .with_context(|| format!("{manifest} lies outside the repository"))?
        .to_string_lossy()
        .replace('\\', "/");
    let each = |key: &str| package[key].as_array().cloned().unwrap_or_default();
    let dependencies = each("dependencies")
        .iter()
        .filter_map(|d| {
            Some(Dependency {
                name: text(&d["name"])?,
                dev: d["kind"].as_str() == Some("dev"),
            })
        })
        .collect();
    let cdylibs = each("targets")
        .iter()
        .filter(|target| {
            target["crate_types"]
                .as_array()
                .is_some_and(|types| types.iter().any(|t| t == "cdylib"))
        })
        .filter_map(|target| Some(text(&target["name"])?.replace('-', "_")))
        .collect();
    Ok(Member {
        name,
        folder,
        dependencies,
        cdylibs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_folder_dependencies_and_libraries() {
        let metadata = json!({"workspace_members": ["own"], "packages": [{
            "id": "own", "name": "plugin-dream",
            "manifest_path": "/r/plugins/models/dream/Cargo.toml",
            "dependencies": [{"name": "harness-sdk", "kind": null}, {"name": "proptest", "kind": "dev"}, {"name": "cc", "kind": "build"}],
            "targets": [{"name": "plugin-dream", "crate_types": ["cdylib", "rlib"]}, {"name": "it", "crate_types": ["bin"]}],
        }, {"id": "other", "name": "proptest"}]});
        let found = members(&metadata, Path::new("/r")).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].folder, "plugins/models/dream");
        assert_eq!(found[0].cdylibs, ["plugin_dream"]);
        let dev: Vec<bool> = found[0].dependencies.iter().map(|d| d.dev).collect();
        assert_eq!(dev, [false, true, false]);
        members(&metadata, Path::new("/elsewhere")).unwrap_err();
    }

    #[test]
    fn what_is_linked_is_read_by_name_and_what_builds_is_left_out() {
        let used = |id, kind| json!({"pkg": id, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [{"id": "1", "name": "a"}, {"id": "2", "name": "b"}],
            "resolve": {"nodes": [{"id": "1", "deps": [
                used("2", None), used("2", Some("build")), used("2", Some("dev")),
            ]}]},
        });
        let dev = |dev| Dependency {
            name: "b".to_owned(),
            dev,
        };
        let expected = Links::from([("a".to_owned(), vec![dev(false), dev(true)])]);
        assert_eq!(links(&metadata).unwrap(), expected);
    }
}
