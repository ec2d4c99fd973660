//! libtorch behind `.libtorch`: the user's own where one is named, otherwise fetched once into the
//! user's cache.

mod cache;
mod folder;
mod link;
pub mod wheel;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::prerequisites;
use crate::python;
use crate::workspace::Workspace;
pub use folder::VERSION;
pub use link::point;

/// The libtorch that the build will use.
#[derive(Debug)]
pub struct Libtorch {
    /// A folder with `lib` and `include`.
    pub folder: PathBuf,
    /// As the folder states it, such as `2.11.0+cpu`.
    pub version: String,
    /// Who chose it.
    pub chosen_by: ChosenBy,
}

/// Why a libtorch is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// `LIBTORCH_USE_PYTORCH` is set.
    UsePytorch,
    /// `LIBTORCH` names it.
    Variable,
    /// `.libtorch` already led there, and it is not the cached copy.
    Link,
    /// It is the copy in the user's cache.
    Cache,
}

impl fmt::Display for Libtorch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.chosen_by {
            ChosenBy::UsePytorch => "LIBTORCH_USE_PYTORCH",
            ChosenBy::Variable => "LIBTORCH",
            ChosenBy::Link => ".libtorch",
            ChosenBy::Cache => "the cache",
        };
        write!(
            f,
            "libtorch {} at {} (from {by})",
            self.version,
            self.folder.display()
        )
    }
}

/// Sees to it that there is a libtorch to build with and that `.libtorch` leads to it.
///
/// # Errors
/// When a prerequisite is missing, a named libtorch is not the one needed, or fetching fails.
pub fn ensure(ws: &Workspace) -> Result<Libtorch> {
    prerequisites::need_compiler(ws)?;
    warn_about_rustflags();
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        let Some(folder) = python::torch_folder(ws)? else {
            bail!(
                "LIBTORCH_USE_PYTORCH is set, but this Python has no torch.\nInstall it with `python3 -m pip install torch=={VERSION}`, or unset the variable to have libtorch fetched."
            );
        };
        return explicit(ws, &folder, ChosenBy::UsePytorch);
    }
    if let Some(folder) = ws.explicit_libtorch() {
        return explicit(ws, &folder, ChosenBy::Variable);
    }
    let place = cache::place();
    if let Some(found) = linked_elsewhere(ws, place.as_deref().ok()) {
        return Ok(found);
    }
    link::refuse_unusable_folder(&ws.libtorch_link())?;
    let place = place?;
    cache::ensure(ws, &place)?;
    link::point(&ws.libtorch_link(), &place)?;
    Ok(Libtorch {
        version: folder::version(&place)?,
        folder: place,
        chosen_by: ChosenBy::Cache,
    })
}

/// A libtorch that a variable names: checked, and linked so that the built programs find it too.
fn explicit(ws: &Workspace, path: &Path, chosen_by: ChosenBy) -> Result<Libtorch> {
    let variable = if chosen_by == ChosenBy::UsePytorch {
        "LIBTORCH_USE_PYTORCH"
    } else {
        "LIBTORCH"
    };
    let path = path.canonicalize().with_context(|| {
        format!(
            "{variable} leads to {}, which does not exist",
            path.display()
        )
    })?;
    let version =
        folder::check(&path).with_context(|| format!("{variable} leads to {}", path.display()))?;
    link::point(&ws.libtorch_link(), &path)?;
    Ok(Libtorch {
        folder: path,
        version,
        chosen_by,
    })
}

/// What `.libtorch` leads to, where that is whole, of the right version, and not ours to complete.
fn linked_elsewhere(ws: &Workspace, place: Option<&Path>) -> Option<Libtorch> {
    let folder = ws.libtorch_link().canonicalize().ok()?;
    let ours = place.and_then(|p| p.canonicalize().ok());
    if ours.as_ref() == Some(&folder) {
        return None;
    }
    let version = folder::check(&folder).ok()?;
    Some(Libtorch {
        folder,
        version,
        chosen_by: ChosenBy::Link,
    })
}

fn warn_about_rustflags() {
    let set = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"]
        .into_iter()
        .find(|name| std::env::var_os(name).is_some());
    if let Some(name) = set {
        eprintln!(
            "warning: {name} replaces the link flags of .cargo/config.toml; the built programs will need LD_LIBRARY_PATH=$PWD/.libtorch/lib"
        );
    }
}
