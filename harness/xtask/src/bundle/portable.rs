//! Whether the programs of a bundle run on the machines it is for, and the removal of what only
//! serves a build.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::elf::Elf;

/// The newest versions of the C and the C++ library's symbols that a machine has on which bundles
/// run: those of glibc 2.35 and of the compilers of its time.
const NEWEST: [(&str, [u32; 3]); 2] = [("GLIBC_", [2, 35, 0]), ("GLIBCXX_", [3, 4, 30])];
/// The libraries that such a machine and its torch have, CUDA or not.
const LIBRARIES: [&str; 10] = [
    "libtorch_cpu.so",
    "libc10.so",
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "ld-linux-x86-64.so.2",
];
/// Where programs look for libtorch: first in their own installation, then in a folder above it,
/// which serves what cargo builds in deeper folders.
const OWN_LIBTORCH: &str = "$ORIGIN/../../.libtorch/lib";
const DEEPER: &str = ":$ORIGIN/../../../.libtorch/lib";

/// Checks a program or library, and takes the folder above the bundle out of its search path: that
/// folder is whatever the bundle was unpacked in, and may be writable by others.
///
/// # Errors
/// When the file needs a library or a version that a machine of the bundle need not have.
pub fn make(file: &Path) -> Result<()> {
    let unreadable = || format!("{} cannot be read", file.display());
    let mut bytes = fs::read(file).with_context(unreadable)?;
    let refused = || format!("{} is not portable", file.display());
    check(&bytes).with_context(refused)?;
    if cut(&mut bytes).with_context(refused)? {
        fs::write(file, bytes).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(())
}

fn check(bytes: &[u8]) -> Result<()> {
    let elf = Elf::read(bytes)?;
    for library in elf.needed()? {
        if !LIBRARIES.contains(&library) {
            bail!(
                "it needs {library}, which comes with neither glibc, the C++ compiler nor every \
                 torch; unset LIBTORCH, LIBTORCH_USE_PYTORCH and RUSTFLAGS and build again"
            );
        }
    }
    for version in elf.versions()? {
        if let Some(newest) = too_new(version) {
            bail!(
                "it needs {version}, and bundles are for machines that have up to {newest}; build \
                 it on an older Linux, such as Debian 12 or Ubuntu 22.04"
            );
        }
    }
    Ok(())
}

/// Cuts the search path after the program's own installation. Returns whether there was more.
fn cut(bytes: &mut [u8]) -> Result<bool> {
    let at = match Elf::read(bytes)?.runpath()? {
        None | Some((_, OWN_LIBTORCH)) => return Ok(false),
        Some((at, path)) if path.strip_prefix(OWN_LIBTORCH) == Some(DEEPER) => {
            at + OWN_LIBTORCH.len()
        }
        Some((_, path)) => bail!(
            "it looks for libraries in {path}, folders of this machine; unset RUSTFLAGS and build \
             again"
        ),
    };
    bytes[at..at + DEEPER.len()].fill(0);
    Ok(true)
}

/// The newest version that is allowed, where this one is newer.
fn too_new(version: &str) -> Option<String> {
    NEWEST.iter().find_map(|(prefix, newest)| {
        let numbers = version.strip_prefix(prefix)?;
        let mut found = [0; 3];
        for (place, number) in found.iter_mut().zip(numbers.split('.')) {
            // GLIBC_PRIVATE and the like have no number and belong to one build of the library.
            *place = number.parse().unwrap_or(u32::MAX);
        }
        let [major, minor, patch] = newest;
        (found > *newest).then(|| match patch {
            0 => format!("{prefix}{major}.{minor}"),
            _ => format!("{prefix}{major}.{minor}.{patch}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_beyond_those_of_glibc_2_35_are_too_new() {
        for allowed in [
            "GLIBC_2.2.5",
            "GLIBC_2.35",
            "GLIBCXX_3.4.9",
            "GLIBCXX_3.4.30",
            "CXXABI_1.3.13",
            "GCC_4.2.0",
        ] {
            assert_eq!(too_new(allowed), None, "{allowed}");
        }
        for (refused, newest) in [
            ("GLIBC_2.36", "GLIBC_2.35"),
            ("GLIBC_2.100", "GLIBC_2.35"),
            ("GLIBC_PRIVATE", "GLIBC_2.35"),
            ("GLIBCXX_3.4.31", "GLIBCXX_3.4.30"),
        ] {
            assert_eq!(too_new(refused).as_deref(), Some(newest), "{refused}");
        }
    }

    /// This test program, with one text in place of another of the same length.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn program(old: &str, new: &str) -> Vec<u8> {
        let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
        let places: Vec<usize> = (0..bytes.len() - old.len())
            .filter(|at| bytes[*at..].starts_with(old.as_bytes()))
            .collect();
        for at in places {
            bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
        }
        bytes
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn a_program_that_needs_more_than_the_machines_have_is_refused() {
        let refusal = |old: &str, new: &str| {
            let error = check(&program(old, new)).unwrap_err();
            error.to_string()
        };
        let library = refusal("libgcc_s.so.1\0", "libcuda_.so.1\0");
        assert!(library.contains("needs libcuda_.so.1"), "{library}");
        let version = refusal("GLIBC_2.", "GLIBC_9.");
        assert!(version.contains("needs GLIBC_9."), "{version}");
        assert!(version.contains("up to GLIBC_2.35"), "{version}");
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn the_folder_above_leaves_the_search_path_and_nothing_else_changes() {
        let before = program("", "");
        // Where RUSTFLAGS stand in place of the repository's flags there is no search path.
        let Some((_, path)) = Elf::read(&before).unwrap().runpath().unwrap() else {
            return;
        };
        assert_eq!(path, format!("{OWN_LIBTORCH}{DEEPER}"));
        let mut after = before.clone();
        assert!(cut(&mut after).unwrap());
        let elf = Elf::read(&after).unwrap();
        assert_eq!(elf.runpath().unwrap().unwrap().1, OWN_LIBTORCH);
        let differing = before.iter().zip(&after).filter(|(a, b)| a != b);
        assert_eq!(differing.count(), DEEPER.len());
        assert!(!cut(&mut after).unwrap(), "there is nothing left to cut");

        let mut foreign = program("$ORIGIN/../../.libtorch", "/opt/a/torch/of/mine/00");
        let error = cut(&mut foreign).unwrap_err().to_string();
        assert!(error.contains("/opt/a/torch/of/mine/00"), "{error}");
    }
}
