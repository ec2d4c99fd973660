//! Files for what reads paths.

use std::{
    cell::OnceCell,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

thread_local! {
    static DIR: OnceCell<TempDir> = const { OnceCell::new() };
}

/// A folder of this thread that holds what the last call left there.
pub fn dir() -> PathBuf {
    DIR.with(|dir| {
        let made = || tempfile::tempdir().expect("no folder for temporary files");
        dir.get_or_init(made).path().to_owned()
    })
}

/// A file of this name with these bytes.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir().join(name);
    write(&path, bytes);
    path
}

/// A folder of this name with these files.
pub fn folder(name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let folder = dir().join(name);
    fs::create_dir_all(&folder).expect("no folder for temporary files");
    for (name, bytes) in files {
        write(&folder.join(name), bytes);
    }
    folder
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("temporary files cannot be written");
}
