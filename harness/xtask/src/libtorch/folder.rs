//! Whether a folder holds the libtorch that is needed.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

/// The release tch 0.24 is made for.
pub const VERSION: &str = "2.11.0";

/// Checks that the folder can be built against, and returns the version it states.
///
/// # Errors
/// When libraries or headers are missing or the version is another one; the message says found,
/// needed and the cure.
pub fn check(folder: &Path) -> Result<String> {
    let library = ["libtorch_cpu.so", "libtorch_cpu.dylib", "torch_cpu.lib"];
    if !library
        .iter()
        .any(|name| folder.join("lib").join(name).is_file())
    {
        bail!(
            "it has no lib/{}, so it is not a libtorch; {}",
            library[0],
            cure()
        );
    }
    if !folder
        .join("include/torch/csrc/api/include/torch/torch.h")
        .is_file()
    {
        bail!(
            "it has libraries but no headers (include/torch/csrc/api/include); {}",
            cure()
        );
    }
    let found = version(folder)?;
    if is_needed(&found) || std::env::var_os("LIBTORCH_BYPASS_VERSION_CHECK").is_some() {
        return Ok(found);
    }
    bail!("found torch {found}, needed {VERSION}; {}", cure())
}

fn cure() -> String {
    format!("name a torch {VERSION}, or unset the variable to have it fetched")
}

/// The version the folder states: a libtorch archive in `build-version`, a Python package in
/// `version.py`, both in a header.
///
/// # Errors
/// When none of the three is there.
pub fn version(folder: &Path) -> Result<String> {
    let read = |path: &str| fs::read_to_string(folder.join(path)).ok();
    let found = read("build-version")
        .map(|text| text.trim().to_owned())
        .or_else(|| read("version.py").and_then(|text| quoted_after(&text, "__version__")))
        .or_else(|| {
            read("include/torch/csrc/api/include/torch/version.h")
                .and_then(|text| quoted_after(&text, "TORCH_VERSION "))
        })
        .or_else(|| {
            read("include/torch/headeronly/version.h")
                .and_then(|text| quoted_after(&text, "TORCH_VERSION "))
        });
    match found {
        Some(version) => Ok(version),
        None => bail!(
            "{} does not state its version (no build-version, version.py or version.h); {}",
            folder.display(),
            cure()
        ),
    }
}

/// Whether a stated version is the needed one, whatever it was built for: `2.11.0`, `2.11.0+cpu`,
/// `2.11.0+cu130`.
pub fn is_needed(version: &str) -> bool {
    version
        .strip_prefix(VERSION)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
}

/// The quoted text on the first line that begins with `name` (after `#define`, where there is one).
fn quoted_after(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| {
        line.trim_start()
            .trim_start_matches("#define ")
            .starts_with(name)
    })?;
    let mut parts = line.split(['"', '\'']);
    parts.next()?;
    parts.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_release_is_taken() {
        for good in ["2.11.0", "2.11.0+cpu", "2.11.0+cu130"] {
            assert!(is_needed(good), "{good}");
        }
        for bad in ["2.11.01", "2.11", "2.10.0+cpu", "2.11.0a0", ""] {
            assert!(!is_needed(bad), "{bad}");
        }
    }

    #[test]
    fn reads_the_version_of_python_packages_and_headers() {
        let python = "from typing import Optional\n\n__all__ = ['__version__']\n__version__ = '2.11.0+cu130'\ndebug = False\n";
        assert_eq!(
            quoted_after(python, "__version__").as_deref(),
            Some("2.11.0+cu130")
        );
        assert_eq!(
            quoted_after(
                "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION \"2.11.0\"\n",
                "TORCH_VERSION "
            )
            .as_deref(),
            Some("2.11.0")
        );
    }

    #[test]
    fn refusals_name_what_was_found_and_needed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            check(dir.path())
                .unwrap_err()
                .to_string()
                .contains("is not a libtorch")
        );
        let headers = dir.path().join("include/torch/csrc/api/include/torch");
        fs::create_dir_all(dir.path().join("lib")).unwrap();
        fs::write(dir.path().join("lib/libtorch_cpu.so"), "").unwrap();
        assert!(
            check(dir.path())
                .unwrap_err()
                .to_string()
                .contains("no headers")
        );
        fs::create_dir_all(&headers).unwrap();
        fs::write(headers.join("torch.h"), "").unwrap();
        assert!(
            check(dir.path())
                .unwrap_err()
                .to_string()
                .contains("does not state its version")
        );
        fs::write(dir.path().join("build-version"), "2.9.1+cpu\n").unwrap();
        let message = check(dir.path()).unwrap_err().to_string();
        assert!(
            message.contains("found torch 2.9.1+cpu") && message.contains("needed 2.11.0"),
            "{message}"
        );
        fs::write(dir.path().join("build-version"), "2.11.0+cpu\n").unwrap();
        assert_eq!(check(dir.path()).unwrap(), "2.11.0+cpu");
    }
}
