//! Finds plugins in the folders a user names, and nowhere else.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{Manifest, file::check_library};
use crate::canonical::sha256_hex;

/// Folders below a named one that are searched.
const MAX_DEPTH: usize = 3;

/// A plugin whose manifest and library file are in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPlugin {
    /// What its manifest says.
    pub manifest: Manifest,
    /// Where its manifest lies.
    pub manifest_path: PathBuf,
    pub library: PathBuf,
    /// SHA-256 of the library.
    pub hash: String,
    /// SHA-256 of the manifest.
    pub manifest_hash: String,
}

/// A plugin that is not loaded, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPlugin {
    /// Its manifest.
    pub path: PathBuf,
    /// Its identifier, where the manifest could be read.
    pub id: Option<String>,
    pub reason: String,
}

/// What the named folders hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Plugins to load, by path of their manifests.
    pub found: Vec<FoundPlugin>,
    /// Plugins refused before anything was opened.
    pub refused: Vec<RefusedPlugin>,
    /// Plugins that are not what a `plugins.lock` says, with the difference.
    pub differing: Vec<RefusedPlugin>,
}

impl Discovery {
    /// Refuse the plugins for which there is a reason.
    pub fn refuse(&mut self, reason: impl Fn(&FoundPlugin) -> Option<String>) {
        let (refused, found) = std::mem::take(&mut self.found)
            .into_iter()
            .map(|plugin| (reason(&plugin), plugin))
            .partition::<Vec<_>, _>(|(reason, _)| reason.is_some());
        self.found = found.into_iter().map(|(_, plugin)| plugin).collect();
        (self.refused).extend(refused.into_iter().map(|(reason, plugin)| RefusedPlugin {
            path: plugin.manifest_path,
            id: Some(plugin.manifest.id),
            reason: reason.unwrap_or_default(),
        }));
        self.refused.sort_by(|a, b| a.path.cmp(&b.path));
    }

    /// The plugin that offers a component.
    #[must_use]
    pub fn component(&self, kind: &str, name: &str) -> Option<&FoundPlugin> {
        self.found.iter().find(|plugin| {
            plugin
                .manifest
                .components
                .iter()
                .any(|c| c.kind == kind && c.name == name)
        })
    }

    /// Names of all components of a kind.
    #[must_use]
    pub fn names(&self, kind: &str) -> Vec<&str> {
        self.found
            .iter()
            .flat_map(|plugin| &plugin.manifest.components)
            .filter(|component| component.kind == kind)
            .map(|component| component.name.as_str())
            .collect()
    }

    /// The model component that reads a `model_type` of `config.json`.
    #[must_use]
    pub fn model_for_type(&self, model_type: &str) -> Option<(&FoundPlugin, &str)> {
        self.found.iter().find_map(|plugin| {
            plugin
                .manifest
                .components
                .iter()
                .find(|c| c.kind == "model" && c.model_types.iter().any(|t| t == model_type))
                .map(|component| (plugin, component.name.as_str()))
        })
    }
}

/// Searches `dirs` for `plugin.toml`, at most three levels deep; `target` and hidden folders are
/// passed over, and a folder that holds a `plugin.toml` is one plugin. A library is looked up
/// beside its manifest, in the `target/release` below it (a crate outside any workspace), then in
/// `beside` (the executable's folder).
///
/// Plugins that offer the same component, or have the same identifier, are refused together.
///
/// # Errors
/// A named folder that cannot be read.
pub fn discover(dirs: &[PathBuf], beside: Option<&Path>) -> Result<Discovery, std::io::Error> {
    let mut manifests = Vec::new();
    for dir in dirs {
        if !dir.is_dir() {
            let message = format!("{} is not a folder", dir.display());
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, message));
        }
        search(dir, 0, &mut manifests)?;
    }
    manifests.sort();
    manifests.dedup();
    let mut discovery = Discovery::default();
    for path in manifests {
        match look(&path, beside) {
            Ok(plugin) => discovery.found.push(plugin),
            Err(refused) => discovery.refused.push(refused),
        }
    }
    refuse_duplicates(&mut discovery);
    Ok(discovery)
}

fn search(dir: &Path, depth: usize, manifests: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let manifest = dir.join("plugin.toml");
    if manifest.is_file() {
        manifests.push(manifest.canonicalize()?);
        return Ok(());
    }
    if depth == MAX_DEPTH {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() && name != "target" && !name.starts_with('.') {
            search(&entry.path(), depth + 1, manifests)?;
        }
    }
    Ok(())
}

fn look(path: &Path, beside: Option<&Path>) -> Result<FoundPlugin, RefusedPlugin> {
    let refuse = |id: Option<&str>, reason: String| RefusedPlugin {
        path: path.to_path_buf(),
        id: id.map(str::to_owned),
        reason,
    };
    let text = fs::read_to_string(path).map_err(|error| refuse(None, error.to_string()))?;
    let manifest =
        Manifest::parse(&text).map_err(|error| refuse(None, format!("plugin.toml, {error}")))?;
    let id = Some(manifest.id.as_str());
    if let Some(target) = &manifest.target
        && !target_is_ours(target)
    {
        return Err(refuse(
            id,
            format!("it is built for {target}, not for this machine"),
        ));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut places = vec![folder.to_path_buf(), folder.join("target/release")];
    places.extend(beside.map(Path::to_path_buf));
    let library = places
        .iter()
        .map(|place| place.join(&manifest.library))
        .find(|candidate| candidate.symlink_metadata().is_ok());
    let Some(library) = library else {
        let looked: Vec<String> = places
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        let reason = format!(
            "its library {} is missing (looked in {}); build it first",
            manifest.library,
            looked.join(", ")
        );
        return Err(refuse(id, reason));
    };
    let real = library
        .canonicalize()
        .map_err(|error| refuse(id, format!("its library {}: {error}", library.display())))?;
    let home = library.parent().and_then(|place| place.canonicalize().ok());
    if home.as_deref() != real.parent() {
        let reason = format!(
            "its library is a link that leads out, to {}",
            real.display()
        );
        return Err(refuse(id, reason));
    }
    let hash = check_library(&real).map_err(|reason| refuse(id, reason))?;
    Ok(FoundPlugin {
        manifest,
        manifest_path: path.to_path_buf(),
        library: real,
        hash,
        manifest_hash: sha256_hex(text.as_bytes()),
    })
}

/// Whether a target triple names this architecture and operating system.
fn target_is_ours(target: &str) -> bool {
    target.starts_with(std::env::consts::ARCH) && target.contains(std::env::consts::OS)
}

fn refuse_duplicates(discovery: &mut Discovery) {
    let mut owners: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, plugin) in discovery.found.iter().enumerate() {
        owners
            .entry(format!("plugin `{}`", plugin.manifest.id))
            .or_default()
            .push(i);
        for component in &plugin.manifest.components {
            let what = format!("{} `{}`", component.kind, component.name);
            owners.entry(what).or_default().push(i);
        }
    }
    let mut reasons: BTreeMap<usize, String> = BTreeMap::new();
    for (what, plugins) in owners.iter().filter(|(_, plugins)| plugins.len() > 1) {
        for &i in plugins {
            let others: Vec<String> = plugins
                .iter()
                .filter(|&&other| other != i)
                .map(|&other| discovery.found[other].manifest_path.display().to_string())
                .collect();
            let reason = format!("{what} is also offered by {}", others.join(", "));
            reasons.entry(i).or_insert(reason);
        }
    }
    let reasons: BTreeMap<PathBuf, String> = (reasons.into_iter())
        .map(|(i, reason)| (discovery.found[i].manifest_path.clone(), reason))
        .collect();
    discovery.refuse(|plugin| reasons.get(&plugin.manifest_path).cloned());
}
