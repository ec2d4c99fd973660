//! What a libtorch, or Python's torch, says of itself in the files beside its libraries.

use std::{fs, path::Path};

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
}
