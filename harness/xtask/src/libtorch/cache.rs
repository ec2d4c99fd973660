//! The copy in the user's cache: one serves every clone.
//!
//! It is made beside its final place and moved there whole, under a lock, and carries a marker; a
//! folder without the marker is never used.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::folder::{self, VERSION};
use super::{link, wheel};
use crate::workspace::Workspace;
use crate::{prerequisites, python};

const FOLDER: &str = "libtorch-2.11.0-cpu-x86_64";
const MARKER: &str = ".complete";
/// First line of the marker; another recipe gets another line, and older folders are then rebuilt.
const RECIPE: &str = "libtorch 2.11.0+cpu, recipe 1";

/// Where the copy belongs.
///
/// # Errors
/// Where no wheel serves this machine, or no cache folder is known.
pub fn place() -> Result<PathBuf> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "libtorch is fetched for Linux on x86-64 only. Here, install torch {VERSION} (`python3 -m pip install torch=={VERSION}`) and set LIBTORCH_USE_PYTORCH=1,\nor set LIBTORCH to a libtorch {VERSION}; programs find it at run time by LD_LIBRARY_PATH (macOS: DYLD_LIBRARY_PATH) set to its lib folder"
        );
    }
    let var = |name: &str| std::env::var_os(name);
    match cache_folder(
        var("HARNESS_CACHE").as_deref(),
        var("XDG_CACHE_HOME").as_deref(),
        var("HOME").as_deref(),
    ) {
        Some(folder) => Ok(std::path::absolute(folder)
            .context("the current folder cannot be read")?
            .join(FOLDER)),
        None => bail!(
            "neither HARNESS_CACHE, XDG_CACHE_HOME nor HOME is set; set HARNESS_CACHE to a folder with 1.1 GB free"
        ),
    }
}

fn cache_folder(
    harness: Option<&OsStr>,
    xdg: Option<&OsStr>,
    home: Option<&OsStr>,
) -> Option<PathBuf> {
    let set = |value: Option<&OsStr>| value.filter(|v| !v.is_empty()).map(PathBuf::from);
    set(harness).or_else(|| {
        Some(
            set(xdg)
                .or_else(|| Some(set(home)?.join(".cache")))?
                .join("dlm-harness"),
        )
    })
}

/// Makes the copy unless a whole one is there.
///
/// # Errors
/// When pip is missing or fails, a file is damaged, or the cache cannot be written.
pub fn ensure(ws: &Workspace, place: &Path) -> Result<()> {
    if is_complete(place) {
        return Ok(());
    }
    prerequisites::need_pip(ws)?;
    let parent = place.parent().context("the cache folder has no parent")?;
    let unwritable = || {
        format!(
            "the cache {} cannot be written; set HARNESS_CACHE to another folder",
            parent.display()
        )
    };
    fs::create_dir_all(parent).with_context(unwritable)?;
    let lock = File::create(parent.join(format!("{FOLDER}.lock"))).with_context(unwritable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("another set-up is fetching libtorch; waiting for it");
            lock.lock().with_context(unwritable)?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(unwritable),
    }
    // Whoever held the lock before may have done the work.
    if is_complete(place) {
        return Ok(());
    }
    remove_leftovers(parent);
    let partial = parent.join(format!("{FOLDER}.{}.partial", std::process::id()));
    let made = make(ws, &partial).and_then(|()| move_into_place(ws, &partial, place));
    if partial.exists() {
        // What is left is a failed attempt, or after an exchange the folder that was replaced.
        let _ = fs::remove_dir_all(&partial);
    }
    made
}

/// Folders that set-ups which were killed have left. The caller holds the lock, so nobody works on
/// them.
fn remove_leftovers(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|n| n.starts_with(FOLDER) && n.ends_with(".partial"))
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Fetches and unpacks into `partial`.
fn make(ws: &Workspace, partial: &Path) -> Result<()> {
    let wheels = partial.join("wheels");
    fs::create_dir_all(&wheels)
        .with_context(|| format!("{} cannot be written", wheels.display()))?;
    download(ws, &wheels)?;
    let mut unpacked = Vec::new();
    for pinned in &wheel::WHEELS {
        let file = find_wheel(&wheels, pinned.file_prefix)?;
        let chosen = wheel::wanted(&python::names_in_wheel(ws, &file)?);
        eprintln!("unpacking {} files of {}", chosen.len(), pinned.requirement);
        // pip has compared the wheel's hash, and each file has a checksum in the archive.
        python::unpack(ws, &file, &chosen, partial)?;
        unpacked.extend(chosen);
    }
    wheel::complete(&unpacked)?;
    fs::remove_dir_all(&wheels)
        .with_context(|| format!("{} cannot be removed", wheels.display()))?;
    // The wheel's own libtorch.so needs the CUDA libraries; torch-sys asks for the name only.
    link::symlink(
        Path::new("libtorch_cpu.so"),
        &partial.join("lib/libtorch.so"),
    )
    .context("lib/libtorch.so cannot be written")?;
    fs::write(partial.join("build-version"), format!("{VERSION}+cpu\n"))
        .context("build-version cannot be written")?;
    let marker = marker_of(partial).context("the unpacked libraries cannot be read")?;
    fs::write(partial.join(MARKER), marker).context("the marker cannot be written")
}

fn download(ws: &Workspace, wheels: &Path) -> Result<()> {
    eprintln!("fetching libtorch {VERSION} from PyPI (544 MB, once; kept in the cache)");
    let list = wheels.join("requirements.txt");
    fs::write(&list, wheel::requirements())
        .with_context(|| format!("{} cannot be written", list.display()))?;
    let mut pip = python::interpreter(ws);
    pip.args([
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-cache-dir",
        "--require-hashes",
    ]);
    pip.args(wheel::PIP_TARGET)
        .arg("--dest")
        .arg(wheels)
        .arg("--requirement")
        .arg(&list);
    // stdout is for results; pip writes its progress there.
    pip.stdout(stderr_as_stdout()?);
    let status = pip.status().context("pip cannot be started")?;
    if !status.success() {
        bail!(
            "pip could not fetch libtorch (its message is above). Behind a proxy set HTTPS_PROXY, with a mirror PIP_INDEX_URL;\nor unpack a libtorch {VERSION} yourself and set LIBTORCH to it"
        );
    }
    Ok(())
}

#[cfg(unix)]
fn stderr_as_stdout() -> Result<Stdio> {
    use std::os::fd::AsFd;
    Ok(io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .context("stderr cannot be shared with pip")?
        .into())
}

#[cfg(not(unix))]
fn stderr_as_stdout() -> Result<Stdio> {
    Ok(Stdio::null())
}

fn find_wheel(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let is_it = |name: &OsStr| {
        name.to_str()
            .is_some_and(|n| n.starts_with(prefix) && n.ends_with(".whl"))
    };
    match entries.flatten().find(|entry| is_it(&entry.file_name())) {
        Some(entry) => Ok(entry.path()),
        None => bail!("pip left no {prefix}*.whl in {}", folder.display()),
    }
}

/// The marker of a folder: the recipe, then size and name of each library.
fn marker_of(folder: &Path) -> io::Result<String> {
    let mut text = format!("{RECIPE}\n");
    for library in wheel::LIBRARIES {
        let size = fs::metadata(folder.join("lib").join(library))?.len();
        text.push_str(&format!("{size} lib/{library}\n"));
    }
    Ok(text)
}

/// Whether the folder carries the marker and its libraries still have the sizes recorded there.
fn is_complete(folder: &Path) -> bool {
    let marker = fs::read_to_string(folder.join(MARKER));
    marker.is_ok_and(|found| marker_of(folder).is_ok_and(|now| now == found))
        && folder::check(folder).is_ok()
}

/// Moves the finished folder to its place. An incomplete folder that stands there may be in use by
/// a compiler or a program at this moment, so the two are exchanged in one step where the system
/// can; files that are open stay readable until closed.
fn move_into_place(ws: &Workspace, partial: &Path, place: &Path) -> Result<()> {
    let context = || format!("{} cannot be put in place", place.display());
    if fs::symlink_metadata(place).is_err() {
        return fs::rename(partial, place).with_context(context);
    }
    eprintln!("replacing an incomplete {}", place.display());
    if python::exchange(ws, partial, place) {
        return Ok(());
    }
    let old = place.with_extension(format!("{}.old.partial", std::process::id()));
    fs::rename(place, &old).with_context(context)?;
    fs::rename(partial, place).with_context(context)?;
    let _ = fs::remove_dir_all(&old);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_folder_follows_the_variables_in_order() {
        let os = OsStr::new;
        assert_eq!(
            cache_folder(Some(os("/c")), Some(os("/x")), Some(os("/h"))),
            Some(PathBuf::from("/c"))
        );
        assert_eq!(
            cache_folder(None, Some(os("/x")), Some(os("/h"))),
            Some(PathBuf::from("/x/dlm-harness"))
        );
        assert_eq!(
            cache_folder(Some(os("")), None, Some(os("/h"))),
            Some(PathBuf::from("/h/.cache/dlm-harness"))
        );
        assert_eq!(cache_folder(None, None, None), None);
    }

    /// A folder that passes for a libtorch in every way but its marker.
    fn fake(folder: &Path) {
        fs::create_dir_all(folder.join("lib")).unwrap();
        let headers = folder.join("include/torch/csrc/api/include/torch");
        fs::create_dir_all(&headers).unwrap();
        fs::write(headers.join("torch.h"), "").unwrap();
        fs::write(folder.join("build-version"), "2.11.0+cpu\n").unwrap();
        for library in wheel::LIBRARIES {
            fs::write(folder.join("lib").join(library), "elf").unwrap();
        }
    }

    #[test]
    fn a_folder_without_its_marker_or_with_a_cut_library_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        fake(dir.path());
        assert!(!is_complete(dir.path()));
        fs::write(dir.path().join(MARKER), marker_of(dir.path()).unwrap()).unwrap();
        assert!(is_complete(dir.path()));
        fs::write(dir.path().join("lib/libc10.so"), "e").unwrap();
        assert!(!is_complete(dir.path()));
        fs::remove_file(dir.path().join("lib/libc10.so")).unwrap();
        assert!(!is_complete(dir.path()));
    }

    #[test]
    fn leftovers_go_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            format!("{FOLDER}.12.partial"),
            FOLDER.to_owned(),
            "other.partial".to_owned(),
        ] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        remove_leftovers(dir.path());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(dir.path().join(FOLDER).is_dir());
    }
}
