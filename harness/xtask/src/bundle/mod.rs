//! `cargo xtask bundle`: one archive with which the product runs on other machines, without Rust,
//! beside a Python torch.

mod archive;
mod portable;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::compile::{self, Profile};
use crate::layout::{self, Models, PROGRAM};
use crate::libtorch;
use crate::workspace::Workspace;

/// The most bytes of an archive, without and with the embedded models.
const MOST_BYTES: u64 = 16_000_000;
const MOST_BYTES_WITH_MODELS: u64 = 48_000_000;
/// What the archive says of itself.
const README: &str = include_str!("README.md");
/// Flags of the compiler that make programs for one kind of processor.
const UNPORTABLE_FLAGS: [&str; 2] = ["target-cpu", "target-feature"];
const FLAG_VARIABLES: [&str; 3] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
];

/// Builds the product and packs it.
///
/// # Errors
/// When the build fails, the programs would not run elsewhere, or the archive is too large.
pub fn bundle(ws: &Workspace, args: &BundleArgs) -> Result<ExitCode> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!("bundles are made on Linux on x86-64, and for it");
    }
    refuse_flags()?;
    archive::need_tools(ws)?;
    compile::product(ws, Profile::Release)?;

    let place = ws.target.join("bundle");
    let scratch = place.join(format!(".{}", std::process::id()));
    let out = match &args.out {
        Some(out) => std::path::absolute(out).context("the current folder cannot be read")?,
        None => place.join(format!("{}{}.tar.xz", name(), args.suffix())),
    };
    let made = make(ws, &scratch, &out, args.models());
    if scratch.exists() {
        let _ = fs::remove_dir_all(&scratch);
    }
    let bytes = made?;
    println!("{} ({})", out.display(), megabytes(bytes));
    Ok(ExitCode::SUCCESS)
}

/// What the command line asks for.
#[derive(Debug, clap::Args)]
pub struct BundleArgs {
    /// Write the archive here instead of into target/bundle
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Put the embedded models and their SAEs into it
    #[arg(long)]
    with_models: bool,
}

impl BundleArgs {
    fn models(&self) -> Models {
        match self.with_models {
            true => Models::Embedded,
            false => Models::None,
        }
    }

    fn suffix(&self) -> &'static str {
        match self.models() {
            Models::Embedded => "-models",
            Models::None => "",
        }
    }
}

/// The folder into which the archive unpacks.
fn name() -> String {
    format!("harness-{}-x86_64-linux", env!("CARGO_PKG_VERSION"))
}

/// The programs of a bundle choose their instructions when they run.
fn refuse_flags() -> Result<()> {
    for variable in FLAG_VARIABLES {
        let value = env::var(variable).unwrap_or_default();
        if UNPORTABLE_FLAGS.iter().any(|flag| value.contains(flag)) {
            bail!(
                "{variable} makes programs for one kind of processor, a bundle is for all of \
                 x86-64; unset it and run this again"
            );
        }
    }
    Ok(())
}

/// Puts the folder together, packs it, and moves the archive to its place when it is small enough.
fn make(ws: &Workspace, scratch: &Path, out: &Path, models: Models) -> Result<u64> {
    let folder = scratch.join(name());
    let binaries = layout::fill(ws, &folder, models)?;
    archive::strip(ws, &binaries)?;
    for binary in &binaries {
        portable::make(ws, binary)?;
    }
    let unwritable = || format!("{} cannot be written", folder.display());
    fs::create_dir(folder.join("bin")).with_context(unwritable)?;
    libtorch::point(&folder.join("bin/harness"), &Path::new("..").join(PROGRAM))?;
    fs::write(folder.join("README.md"), README).with_context(unwritable)?;

    let packed = scratch.join("packed.tar.xz");
    archive::pack(ws, scratch, &name(), &packed)?;
    let bytes = fs::metadata(&packed)
        .with_context(|| format!("{} cannot be read", packed.display()))?
        .len();
    check_size(bytes, models)?;
    put(&packed, out)?;
    Ok(bytes)
}

fn check_size(bytes: u64, models: Models) -> Result<()> {
    let (what, most) = match models {
        Models::Embedded => ("a bundle with models", MOST_BYTES_WITH_MODELS),
        Models::None => ("a bundle", MOST_BYTES),
    };
    if bytes > most {
        bail!(
            "the archive has {}, {what} has at most {}; nothing was written. What has grown? \
             `ls -lS` of target/release and benchmarks shows it",
            megabytes(bytes),
            megabytes(most)
        );
    }
    Ok(())
}

/// Puts a finished file in its place, which then holds the old file or the new one, whole.
fn put(file: &Path, out: &Path) -> Result<()> {
    let unwritable = || format!("{} cannot be written", out.display());
    if let Some(parent) = out.parent() {
        fs::create_dir_all(parent).with_context(unwritable)?;
    }
    let mut beside = out.as_os_str().to_owned();
    beside.push(".tmp");
    fs::copy(file, &beside).with_context(unwritable)?;
    fs::rename(&beside, out).with_context(unwritable)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_that_has_grown_too_large_is_refused() {
        check_size(16_000_000, Models::None).unwrap();
        check_size(48_000_000, Models::Embedded).unwrap();
        let message = check_size(16_000_001, Models::None).unwrap_err();
        assert!(message.to_string().contains("at most 16.0 MB"), "{message}");
        let message = check_size(48_000_001, Models::Embedded).unwrap_err();
        assert!(message.to_string().contains("at most 48.0 MB"), "{message}");
    }

    #[test]
    fn the_readme_names_the_version_of_torch_that_is_needed() {
        let version = crate::libtorch::VERSION;
        assert!(README.contains(&format!("torch=={version}")));
    }
}
