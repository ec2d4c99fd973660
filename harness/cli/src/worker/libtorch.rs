//! The libtorch that workers are started with.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use harness_plan::{exit, protocol::TORCH_VERSION};

use crate::failure::Failure;

/// The library folder of a libtorch that the user names. Without one the worker finds the linked one by itself.
///
/// # Errors
/// Where it says that it is of another version: symbols would be missing, or worse, not.
pub fn named() -> Result<Option<PathBuf>, Failure> {
    let Some(folder) = folder() else {
        return Ok(None);
    };
    match version(&folder) {
        Some(found) if found != TORCH_VERSION => {
            let message = format!(
                "libtorch in {} is {found}, this build needs {TORCH_VERSION}",
                folder.display()
            );
            let hint = "unset LIBTORCH and LIBTORCH_USE_PYTORCH for the libtorch of `cargo xtask setup` (with --device cpu where it \
                has no CUDA), or name one of that version";
            Err(Failure::new(exit::DEVICE, message).hint(hint))
        }
        _ => {
            let lib = folder.join("lib");
            Ok(lib.is_dir().then(|| lib.canonicalize().unwrap_or(lib)))
        }
    }
}

/// The version that a libtorch, or Python's torch, says it has, without what was built in (`+cpu`).
fn version(folder: &Path) -> Option<String> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let of_python = || {
        let text = read("version.py")?;
        let line = text.lines().find(|line| line.starts_with("__version__"))?;
        Some(line.split(['\'', '"']).nth(1)?.to_owned())
    };
    let full = read("build-version").or_else(of_python)?;
    let version = full.trim().split('+').next()?.to_owned();
    (!version.is_empty()).then_some(version)
}

fn folder() -> Option<PathBuf> {
    let is_set = |name| env::var_os(name).filter(|value| !value.is_empty());
    match is_set("LIBTORCH_USE_PYTORCH") {
        Some(_) => python_torch(),
        None => Some(PathBuf::from(is_set("LIBTORCH")?)),
    }
}

/// The folder of Python's torch package, found without importing it: that takes seconds.
fn python_torch() -> Option<PathBuf> {
    let script =
        "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])";
    let interpreter = if env::var_os("VIRTUAL_ENV").is_some() {
        "python"
    } else {
        "python3"
    };
    let output = Command::new(interpreter)
        .args(["-c", script])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    let folder = Path::new(folder.trim());
    folder.is_dir().then(|| folder.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_either_kind_of_folder() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(version(dir.path()), None);
        let python = "from typing import Optional\n__version__ = '2.6.0+cu124'\ndebug = False\n";
        fs::write(dir.path().join("version.py"), python).unwrap();
        assert_eq!(version(dir.path()).unwrap(), "2.6.0");
        fs::write(dir.path().join("build-version"), "2.11.0+cpu\n").unwrap();
        assert_eq!(version(dir.path()).unwrap(), "2.11.0");
    }
}
