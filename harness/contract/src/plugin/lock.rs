//! `plugins.lock`: what the plugins of a folder were when somebody looked at them, so that a
//! changed one is noticed before it is opened.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{FoundPlugin, RefusedPlugin};
use crate::files::replace_file;

/// Name of the file, in the folder that `--plugins` names.
pub const LOCK_FILE: &str = "plugins.lock";
/// Version of its form.
const VERSION: u32 = 1;
/// Largest file that is read.
const MAX_BYTES: u64 = 4 << 20;
const HEAD: &str = "\
# The plugins of this folder, as `harness plugins lock` found them. With --locked no other plugin is opened.
";

/// The plugins of a folder, by identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    #[serde(default, rename = "plugin")]
    pub plugins: Vec<LockedPlugin>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPlugin {
    pub id: String,
    pub version: String,
    /// Its manifest, from the folder of the lock.
    pub manifest: String,
    /// SHA-256 of the manifest.
    pub manifest_sha256: String,
    /// SHA-256 of the library.
    pub library_sha256: String,
}

impl Lock {
    /// The lock of a folder with these plugins.
    #[must_use]
    pub fn of<'a>(dir: &Path, plugins: impl IntoIterator<Item = &'a FoundPlugin>) -> Lock {
        let real = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let mut plugins: Vec<LockedPlugin> = (plugins.into_iter())
            .map(|plugin| {
                let path = &plugin.manifest_path;
                let path = path.strip_prefix(&real).unwrap_or(path);
                let names: Vec<_> = (path.components())
                    .map(|name| name.as_os_str().to_string_lossy())
                    .collect();
                LockedPlugin {
                    id: plugin.manifest.id.clone(),
                    version: plugin.manifest.version.clone(),
                    manifest: names.join("/"),
                    manifest_sha256: plugin.manifest_hash.clone(),
                    library_sha256: plugin.hash.clone(),
                }
            })
            .collect();
        plugins.sort_by(|a, b| a.id.cmp(&b.id));
        Lock {
            version: VERSION,
            plugins,
        }
    }

    /// The lock of a folder, if it has one.
    ///
    /// # Errors
    /// A file that cannot be read or is no lock, in one line.
    pub fn read(dir: &Path) -> Result<Option<Lock>, String> {
        let path = dir.join(LOCK_FILE);
        let fail = |reason: &dyn std::fmt::Display| {
            let reason = reason.to_string();
            Err(format!(
                "{}: {}",
                path.display(),
                reason.trim_end().replace('\n', " ")
            ))
        };
        let text = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Ok(meta) if meta.len() > MAX_BYTES => {
                return fail(&format!("{} bytes are too many", meta.len()));
            }
            Ok(_) | Err(_) => fs::read_to_string(&path),
        };
        let lock: Lock = match text.map(|text| toml::from_str(&text)) {
            Ok(Ok(lock)) => lock,
            Ok(Err(error)) => return fail(&error),
            Err(error) => return fail(&error),
        };
        match lock.version {
            VERSION => Ok(Some(lock)),
            other => fail(&format!("it has version {other}, {VERSION} is known here")),
        }
    }

    /// Put it into its folder; returns the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, dir: &Path) -> io::Result<PathBuf> {
        let path = dir.join(LOCK_FILE);
        let text = toml::to_string(self).map_err(io::Error::other)?;
        replace_file(&path, format!("{HEAD}{text}").as_bytes())?;
        Ok(path)
    }

    /// Whether a library is one of it.
    #[must_use]
    pub fn holds(&self, library_hash: &str) -> bool {
        (self.plugins.iter()).any(|plugin| plugin.library_sha256 == library_hash)
    }

    /// How a plugin differs from what the lock says of it; `None` where it does not.
    fn difference(&self, found: &FoundPlugin) -> Option<String> {
        let Some(locked) = (self.plugins.iter()).find(|p| p.id == found.manifest.id) else {
            let hash = &found.hash;
            return Some(format!(
                "it is not in {LOCK_FILE}; its library has SHA-256 {hash}"
            ));
        };
        let pairs = [
            ("version", &found.manifest.version, &locked.version),
            ("manifest", &found.manifest_hash, &locked.manifest_sha256),
            ("library", &found.hash, &locked.library_sha256),
        ];
        let differences: Vec<String> = (pairs.iter())
            .filter(|(_, found, locked)| found != locked)
            .map(|(what, found, locked)| match *what {
                "version" => format!("it is version {found}, {LOCK_FILE} has {locked}"),
                _ => format!("its {what} has SHA-256 {found}, {LOCK_FILE} has {locked}"),
            })
            .collect();
        (!differences.is_empty()).then(|| differences.join("; "))
    }
}

/// How the plugins of a folder differ from its lock. Without a lock they differ where one is asked
/// for.
pub(super) fn differences(
    dir: &Path,
    is_asked_for: bool,
    found: &[&FoundPlugin],
    refused: &[RefusedPlugin],
) -> Vec<RefusedPlugin> {
    let all = |reason: String| {
        let differs = |plugin: &&FoundPlugin| refuse(plugin, reason.clone());
        found.iter().map(differs).collect()
    };
    let lock = match Lock::read(dir) {
        Ok(Some(lock)) => lock,
        Ok(None) if is_asked_for => {
            let dir = dir.display();
            return all(format!(
                "{dir} has no {LOCK_FILE}; `harness plugins lock --plugins {dir}` writes it"
            ));
        }
        Ok(None) => return Vec::new(),
        Err(reason) => return all(reason),
    };
    let differing = (found.iter())
        .filter_map(|plugin| Some(refuse(plugin, lock.difference(plugin)?)))
        .collect::<Vec<_>>();
    let is_here = |id: &str| {
        found.iter().any(|plugin| plugin.manifest.id == id)
            || refused
                .iter()
                .any(|plugin| plugin.id.as_deref() == Some(id))
    };
    let missing = (lock.plugins.iter())
        .filter(|locked| !is_here(&locked.id))
        .map(|locked| RefusedPlugin {
            path: dir.join(&locked.manifest),
            id: Some(locked.id.clone()),
            reason: format!("{LOCK_FILE} names it, and it is not here"),
        });
    differing.into_iter().chain(missing).collect()
}

fn refuse(plugin: &FoundPlugin, reason: String) -> RefusedPlugin {
    RefusedPlugin {
        path: plugin.manifest_path.clone(),
        id: Some(plugin.manifest.id.clone()),
        reason,
    }
}
