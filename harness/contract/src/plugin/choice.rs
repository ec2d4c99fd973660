use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Discovery, FoundPlugin, RefusedPlugin, discover, lock};

/// Which plugins a process opens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginChoice {
    /// Folders searched.
    #[serde(serialize_with = "crate::wire::paths")]
    pub dirs: Vec<PathBuf>,
    /// Only those that are what the `plugins.lock` of their folder says.
    #[serde(default)]
    pub locked: bool,
    /// Libraries that are not opened, by SHA-256, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub avoid: BTreeMap<String, String>,
    /// Only these libraries, by SHA-256; all where none is named.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub only: BTreeSet<String>,
}

impl PluginChoice {
    /// All plugins of some folders.
    #[must_use]
    pub fn of(dirs: &[PathBuf]) -> PluginChoice {
        PluginChoice {
            dirs: dirs.to_vec(),
            ..PluginChoice::default()
        }
    }

    /// Find the plugins, see [`discover`], and compare them with the locks of their folders.
    /// Nothing is opened.
    ///
    /// # Errors
    /// A named folder that cannot be read.
    pub fn discover(&self, beside: Option<&Path>) -> io::Result<Discovery> {
        let mut discovery = discover(&self.dirs, beside)?;
        for dir in &self.dirs {
            let found: Vec<&FoundPlugin> = (discovery.found.iter())
                .filter(|plugin| self.dir_of(plugin) == Some(dir))
                .collect();
            let differing = lock::differences(dir, self.locked, &found, &discovery.refused);
            discovery.differing.extend(differing);
        }
        if self.locked {
            for differing in discovery.differing.clone() {
                discovery.refuse(|plugin| {
                    (plugin.manifest_path == differing.path).then(|| differing.reason.clone())
                });
            }
            // What is named and not here can be refused too: it would be missed.
            let is_told = |path: &Path, refused: &[RefusedPlugin]| {
                refused.iter().any(|plugin| plugin.path == path)
            };
            for differing in discovery.differing.clone() {
                if !is_told(&differing.path, &discovery.refused) {
                    discovery.refused.push(differing);
                }
            }
        }
        discovery.refuse(|plugin| self.avoid.get(&plugin.hash).cloned());
        if !self.only.is_empty() {
            (discovery.found).retain(|plugin| self.only.contains(&plugin.hash));
        }
        Ok(discovery)
    }

    /// The named folder that a plugin lies in: the innermost.
    #[must_use]
    pub fn dir_of(&self, plugin: &FoundPlugin) -> Option<&PathBuf> {
        let lies_in = |dir: &&PathBuf| {
            let real = dir.canonicalize();
            real.is_ok_and(|real| plugin.manifest_path.starts_with(real))
        };
        let depth = |dir: &&PathBuf| dir.canonicalize().map_or(0, |d| d.components().count());
        self.dirs.iter().filter(lies_in).max_by_key(depth)
    }
}
