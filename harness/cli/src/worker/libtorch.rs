//! The libtorch that workers are started with.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use harness_plan::{exit, protocol::TORCH_VERSION};

use crate::failure::Failure;

/// Name the libtorch of workers.
const LIBTORCH: &str = "LIBTORCH";
const USE_PYTORCH: &str = "LIBTORCH_USE_PYTORCH";

/// Who chose a libtorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The environment variable of this name.
    Variable(&'static str),
    /// Nobody: the worker finds the one it was linked with.
    Linked,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Variable(name) => f.write_str(name),
            Origin::Linked => f.write_str("linked"),
        }
    }
}

/// A libtorch that workers are to be started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libtorch {
    /// The folder that is named, where one is.
    pub folder: Option<PathBuf>,
    /// Its libraries; none for the linked one.
    pub lib: Option<PathBuf>,
    /// The version that it says it has, without what was built in.
    pub version: Option<String>,
    /// Who chose it.
    pub origin: Origin,
}

impl Libtorch {
    /// The same, where it does not say that it is of another version: symbols would be missing, or
    /// worse, not.
    ///
    /// # Errors
    /// Both versions, with what to do.
    pub fn of_this_version(self) -> Result<Libtorch, Failure> {
        match (&self.version, &self.folder) {
            (Some(found), Some(folder)) if found != TORCH_VERSION => {
                let message = format!(
                    "libtorch in {} is {found}, this build needs {TORCH_VERSION}",
                    folder.display()
                );
                let hint = "unset LIBTORCH and LIBTORCH_USE_PYTORCH for the libtorch of `cargo xtask setup` (with --device cpu where it \
                    has no CUDA), or name one of that version";
                Err(Failure::new(exit::DEVICE, message).hint(hint))
            }
            _ => Ok(self),
        }
    }
}

/// The libtorch that the user names, whatever its version.
pub fn named() -> Libtorch {
    let (origin, folder) = if is_set(USE_PYTORCH) {
        (Origin::Variable(USE_PYTORCH), python_torch())
    } else if is_set(LIBTORCH) {
        let folder = env::var_os(LIBTORCH).map(PathBuf::from);
        (Origin::Variable(LIBTORCH), folder)
    } else {
        (Origin::Linked, None)
    };
    let lib = folder.as_ref().map(|folder| folder.join("lib"));
    let lib = lib.filter(|lib| lib.is_dir());
    Libtorch {
        version: folder.as_deref().and_then(version),
        lib: lib.map(|lib| lib.canonicalize().unwrap_or(lib)),
        folder,
        origin,
    }
}

/// The libtorch that workers are started with.
///
/// # Errors
/// As [`Libtorch::of_this_version`].
pub fn find() -> Result<Libtorch, Failure> {
    named().of_this_version()
}

/// The version that a libtorch, or Python's torch, says it has, without what was built in (`+cpu`).
pub fn version(folder: &Path) -> Option<String> {
    let version = build(folder)?.split('+').next()?.to_owned();
    (!version.is_empty()).then_some(version)
}

/// The version with what was built in, such as `2.11.0+cpu`.
pub fn build(folder: &Path) -> Option<String> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let of_python = || of_version_file(&read("version.py")?, "__version__");
    let full = read("build-version").or_else(of_python)?;
    Some(full.trim().to_owned())
}

/// The version of CUDA that a libtorch was built for; none where it has none.
pub fn cuda(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join("version.py")).ok();
    let of_python = text.and_then(|text| of_version_file(&text, "cuda"));
    // `cu130` of `2.11.0+cu130` is 13.0.
    let of_build = || {
        let build = build(folder)?;
        let digits = build.split_once("+cu")?.1.to_owned();
        let (major, minor) = digits.split_at_checked(digits.len().checked_sub(1)?)?;
        Some(format!("{major}.{minor}"))
    };
    of_python.or_else(of_build)
}

/// The text that a name has in Python's version.py.
fn of_version_file(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', ':', '=']))
    })?;
    let (_, value) = line.split_once('=')?;
    Some(value.split(['\'', '"']).nth(1)?.to_owned())
}

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// The folder of Python's torch package, found without importing it: that takes seconds.
pub fn python_torch() -> Option<PathBuf> {
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
        assert_eq!(cuda(dir.path()).unwrap(), "12.4");
        fs::write(dir.path().join("build-version"), "2.11.0+cpu\n").unwrap();
        assert_eq!(version(dir.path()).unwrap(), "2.11.0");
        assert_eq!(build(dir.path()).unwrap(), "2.11.0+cpu");
    }

    #[test]
    fn the_cuda_of_a_build_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let with = |version_file: &str| {
            fs::write(dir.path().join("version.py"), version_file).unwrap();
            cuda(dir.path())
        };
        let of_cpu = "__version__ = '2.11.0+cpu'\ncuda: Optional[str] = None\n";
        assert_eq!(with(of_cpu), None);
        let of_gpu = "__version__ = '2.11.0'\ncuda: Optional[str] = '13.0'\ncudart = '1'\n";
        assert_eq!(with(of_gpu).unwrap(), "13.0");
    }

    #[test]
    fn another_version_is_refused_with_both() {
        let with = |version: &str| Libtorch {
            folder: Some(PathBuf::from("torch")),
            lib: None,
            version: Some(version.to_owned()),
            origin: Origin::Variable(LIBTORCH),
        };
        assert!(with(TORCH_VERSION).of_this_version().is_ok());
        let failure = with("2.6.0").of_this_version().unwrap_err();
        assert_eq!(failure.code, exit::DEVICE);
        assert!(failure.what().contains("is 2.6.0, this build needs 2.11.0"));
    }
}
