//! Where the benches and the embedded models lie.

use std::{env, path::PathBuf};

use harness_contract::exit;
use harness_supervise::{executable, has_tables};

use crate::failure::Failure;

/// Names the installation's folder when it is not above the executable.
pub const ROOT_VARIABLE: &str = "HARNESS_ROOT";

/// The repository, or an installation, which repeats its layout.
#[derive(Clone, Debug)]
pub struct Root {
    /// The folder that holds benchmarks/tables.
    pub dir: PathBuf,
}

impl Root {
    /// Find it above the executable, or where `HARNESS_ROOT` says.
    ///
    /// # Errors
    /// When neither holds benchmarks/tables.
    pub fn find() -> Result<Root, Failure> {
        let executable = executable()?;
        if let Some(dir) = env::var_os(ROOT_VARIABLE).filter(|dir| !dir.is_empty()) {
            let dir = PathBuf::from(dir);
            if has_tables(&dir) {
                return Ok(Root { dir });
            }
            let message = format!(
                "{ROOT_VARIABLE}={} holds no benchmarks/tables",
                dir.display()
            );
            return Err(Failure::new(exit::CONFIG, message));
        }
        match executable.ancestors().find(|dir| has_tables(dir)) {
            Some(dir) => Ok(Root {
                dir: dir.to_path_buf(),
            }),
            None => {
                let message = format!(
                    "no folder above {} holds benchmarks/tables",
                    executable.display()
                );
                Err(Failure::new(exit::CONFIG, message)
                    .hint(format!("set {ROOT_VARIABLE} to the repository")))
            }
        }
    }

    /// Bench files.
    pub fn tables(&self) -> PathBuf {
        self.dir.join("benchmarks/tables")
    }

    /// The embedded models.
    pub fn zoo(&self) -> PathBuf {
        self.dir.join("benchmarks/zoo")
    }
}

/// The user's cache, if there is a place for one.
pub fn cache_dir() -> Option<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("HARNESS_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("dlm-harness")))
        .or_else(|| Some(set("HOME")?.join(".cache/dlm-harness")))
}
