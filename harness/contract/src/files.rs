//! Files that appear whole or not at all (temporary file, fsync, rename).

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// How a file is put in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Placing {
    /// Take the place of whatever is there.
    Replace,
    /// Fail with `AlreadyExists` when something is there.
    IfAbsent,
}

/// Write a file so that it appears whole or not at all and survives a power cut, in place of any
/// that is there; its folder comes into being.
///
/// # Errors
/// When it cannot be written.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_whole(path, bytes, Placing::Replace)
}

/// Write a file as [`replace_file`] does, and not where one is there.
///
/// # Errors
/// `AlreadyExists` where one is there; when it cannot be written.
pub fn write_if_absent(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_whole(path, bytes, Placing::IfAbsent)
}

/// Put a file in place, whole for every other process, in place of any that is there. It need not
/// survive a power cut.
///
/// # Errors
/// When it cannot be written.
pub fn replace_soon(path: &Path, bytes: &[u8]) -> io::Result<()> {
    temporary(path, bytes)?.persist(path)?;
    Ok(())
}

/// Write a file as [`replace_file`] or [`write_if_absent`] does.
///
/// # Errors
/// `AlreadyExists` where one is there and it may not be replaced; when it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8], placing: Placing) -> io::Result<()> {
    let file = temporary(path, bytes)?;
    file.as_file().sync_all()?;
    match placing {
        Placing::Replace => file.persist(path)?,
        Placing::IfAbsent => file.persist_noclobber(path)?,
    };
    sync_folder(path);
    Ok(())
}

/// Put a file in place, whole for every other process from its first moment, and not where one is
/// there. What was written survives the end of this process; a power cut only once the file and its
/// folder are synced.
///
/// # Errors
/// `AlreadyExists` where one is there; when it cannot be written.
pub fn place_if_absent(path: &Path, bytes: &[u8]) -> io::Result<File> {
    Ok(temporary(path, bytes)?.persist_noclobber(path)?)
}

/// The content under another name in the same folder.
fn temporary(path: &Path, bytes: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let dir = path.parent().unwrap_or(Path::new("."));
    if !dir.is_dir() {
        fs::create_dir_all(dir)?;
        // The folder's own name must last too.
        sync_folder(dir);
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".tmp");
    // Results are for whoever may read the folder; the user's mask takes away what it takes from
    // any new file.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(dir)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Make names in the folder of a file last: a rename is only safe once its folder is on disk. Some
/// file systems cannot sync a folder.
pub fn sync_folder(path: &Path) {
    if let Some(Ok(dir)) = path.parent().map(File::open) {
        let _ = dir.sync_all();
    }
}
