//! Whether the programs of a bundle run on the machines it is for, and the removal of what only
//! serves a build.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

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
pub fn make(ws: &Workspace, file: &Path) -> Result<()> {
    let refused = || format!("{} is not portable", file.display());
    let needs = Needs::read(ws, file).with_context(refused)?;
    needs.check().with_context(refused)?;
    if needs.runpath.as_deref() == Some(&format!("{OWN_LIBTORCH}{DEEPER}")) {
        cut_runpath(file).with_context(refused)?;
    }
    Ok(())
}

/// What a program or library needs of the machine that it runs on.
#[derive(Debug, Default)]
struct Needs {
    /// The libraries that the loader must find.
    libraries: Vec<String>,
    /// The versions of symbols that these must have, such as `GLIBC_2.34`.
    versions: Vec<String>,
    /// The folders in which the loader looks first.
    runpath: Option<String>,
}

impl Needs {
    fn read(ws: &Workspace, file: &Path) -> Result<Self> {
        let mut objdump = ws.command("objdump");
        objdump
            .env("LC_ALL", "C")
            .arg("--private-headers")
            .arg(file);
        let output = objdump.output().context("objdump cannot be started")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("objdump cannot read it: {}", said.trim_end());
        }
        let text = String::from_utf8(output.stdout)?;
        let mut needs = Self::default();
        for line in text.lines() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["NEEDED", library] => needs.libraries.push(library.to_owned()),
                ["RUNPATH", path] => needs.runpath = Some(path.to_owned()),
                // A line of the version references: hash, flags, number and name.
                [hash, _, _, version] if hash.starts_with("0x") => {
                    needs.versions.push(version.to_owned());
                }
                _ => {}
            }
        }
        Ok(needs)
    }

    fn check(&self) -> Result<()> {
        let is_unknown = |library: &&String| !LIBRARIES.contains(&library.as_str());
        if let Some(library) = self.libraries.iter().find(is_unknown) {
            bail!(
                "it needs {library}, which comes with neither glibc, the C++ compiler nor every \
                 torch; unset LIBTORCH, LIBTORCH_USE_PYTORCH and RUSTFLAGS and build again"
            );
        }
        for version in &self.versions {
            if let Some(newest) = too_new(version) {
                bail!(
                    "it needs {version}, and bundles are for machines that have up to {newest}; \
                     build it on an older Linux, such as Debian 12 or Ubuntu 22.04"
                );
            }
        }
        match &self.runpath {
            Some(path)
                if path != OWN_LIBTORCH && path.strip_prefix(OWN_LIBTORCH) != Some(DEEPER) =>
            {
                bail!(
                    "it looks for libraries in {path}, folders of this machine; unset RUSTFLAGS \
                     and build again"
                )
            }
            _ => Ok(()),
        }
    }
}

/// Ends the search path after the program's own installation, by zeros over the rest of its text.
fn cut_runpath(file: &Path) -> Result<()> {
    let mut bytes = fs::read(file)?;
    let whole = format!("{OWN_LIBTORCH}{DEEPER}\0");
    let places = bytes.windows(whole.len()).enumerate();
    let places: Vec<usize> = places
        .filter(|(_, text)| *text == whole.as_bytes())
        .map(|(at, _)| at)
        .collect();
    let [at] = places[..] else {
        bail!("its search path is written in it {} times", places.len());
    };
    let start = at + OWN_LIBTORCH.len();
    bytes[start..start + DEEPER.len()].fill(0);
    fs::write(file, bytes)?;
    Ok(())
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

    /// This test program in a file, with one text in place of another of the same length.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn program(old: &str, new: &str) -> tempfile::NamedTempFile {
        let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
        let places: Vec<usize> = (0..bytes.len() - old.len())
            .filter(|at| !old.is_empty() && bytes[*at..].starts_with(old.as_bytes()))
            .collect();
        for at in places {
            bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn a_program_that_needs_more_than_the_machines_have_is_refused() {
        let ws = Workspace::find().unwrap();
        let refusal = |old: &str, new: &str| {
            let program = program(old, new);
            let needs = Needs::read(&ws, program.path()).unwrap();
            needs.check().unwrap_err().to_string()
        };
        let library = refusal("libgcc_s.so.1\0", "libcuda_.so.1\0");
        assert!(library.contains("needs libcuda_.so.1"), "{library}");
        let version = refusal("GLIBC_2.", "GLIBC_9.");
        assert!(version.contains("needs GLIBC_9."), "{version}");
        assert!(version.contains("up to GLIBC_2.35"), "{version}");
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn a_file_that_is_no_program_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "#!/bin/sh").unwrap();
        let error = make(&Workspace::find().unwrap(), file.path()).unwrap_err();
        assert!(
            format!("{error:#}").contains("objdump cannot read it"),
            "{error:#}"
        );
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn the_folder_above_leaves_the_search_path_and_nothing_else_changes() {
        let ws = Workspace::find().unwrap();
        let file = program("", "");
        let runpath = |file: &Path| Needs::read(&ws, file).unwrap().runpath;
        // Where RUSTFLAGS stand in place of the repository's flags there is no search path.
        let Some(path) = runpath(file.path()) else {
            return;
        };
        assert_eq!(path, format!("{OWN_LIBTORCH}{DEEPER}"));
        let before = fs::read(file.path()).unwrap();
        cut_runpath(file.path()).unwrap();
        assert_eq!(runpath(file.path()).as_deref(), Some(OWN_LIBTORCH));
        let after = fs::read(file.path()).unwrap();
        let differing = before.iter().zip(&after).filter(|(a, b)| a != b);
        assert_eq!(differing.count(), DEEPER.len());

        let foreign = program("$ORIGIN/../../.libtorch", "/opt/a/torch/of/mine/00");
        let needs = Needs::read(&ws, foreign.path()).unwrap();
        let error = needs.check().unwrap_err().to_string();
        assert!(error.contains("/opt/a/torch/of/mine/00"), "{error}");
    }
}
