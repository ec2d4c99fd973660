//! Where the programs of the product lie.

use std::{
    env,
    path::{Path, PathBuf},
};

use harness_contract::exit;

use crate::error::Error;

/// The executable itself, links resolved.
///
/// # Errors
/// When the system does not say.
pub fn executable() -> Result<PathBuf, Error> {
    env::current_exe()
        .and_then(|path| path.canonicalize())
        .map_err(|error| {
            Error::new(
                exit::UNEXPECTED,
                format!("the path of this executable is unknown: {error}"),
            )
        })
}

/// Whether a folder is the root of a repository or an installation.
pub fn has_tables(dir: &Path) -> bool {
    dir.join("benchmarks/tables").is_dir()
}
