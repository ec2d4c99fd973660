//! The workspace's members as `cargo metadata` describes them.

use std::path::Path;

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

/// Asks cargo.
///
/// # Errors
/// When cargo fails, for instance on a Cargo.toml that does not parse.
pub fn read(ws: &Workspace) -> Result<Vec<Member>> {
    let output = ws
        .cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cargo metadata cannot be started")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed:\n{}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    let value: Value = serde_json::from_slice(&output.stdout)
        .context("cargo metadata answered with something else than JSON")?;
    parse(&value, &ws.root)
}

/// Takes what the rules need from the metadata.
///
/// # Errors
/// When a field that cargo always writes is missing.
pub fn parse(metadata: &Value, root: &Path) -> Result<Vec<Member>> {
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    packages
        .iter()
        .map(|package| member(package, root))
        .collect()
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
        let metadata = json!({"packages": [{
            "name": "plugin-dream", "manifest_path": "/r/plugins/models/dream/Cargo.toml",
            "dependencies": [{"name": "harness-sdk", "kind": null}, {"name": "proptest", "kind": "dev"}, {"name": "cc", "kind": "build"}],
            "targets": [{"name": "plugin-dream", "crate_types": ["cdylib", "rlib"]}, {"name": "it", "crate_types": ["bin"]}],
        }]});
        let members = parse(&metadata, Path::new("/r")).unwrap();
        assert_eq!(members[0].folder, "plugins/models/dream");
        assert_eq!(members[0].cdylibs, ["plugin_dream"]);
        let dev: Vec<bool> = members[0].dependencies.iter().map(|d| d.dev).collect();
        assert_eq!(dev, [false, true, false]);
        assert!(parse(&metadata, Path::new("/elsewhere")).is_err());
    }
}
