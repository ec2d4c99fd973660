use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{Store, StoreError};

impl Store {
    /// Remove temporary files that a process left behind, older than `age`, and return their paths. Younger ones may belong
    /// to a process that is still writing.
    ///
    /// # Errors
    /// When a folder cannot be read or a file not be removed.
    pub fn remove_stray_files(&self, age: Duration) -> Result<Vec<PathBuf>, StoreError> {
        let mut removed = Vec::new();
        let fail = |source| StoreError::CannotWrite {
            path: self.dir().to_owned(),
            source,
        };
        sweep(self.dir(), age, 0, &mut removed).map_err(fail)?;
        Ok(removed)
    }
}

fn sweep(dir: &Path, age: Duration, depth: usize, removed: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let path = entry.path();
        if meta.is_dir() {
            // cells/xx is the deepest folder of a store.
            if depth < 2 {
                sweep(&path, age, depth + 1, removed)?;
            }
        } else if path.extension().is_some_and(|e| e == "tmp")
            && SystemTime::now()
                .duration_since(meta.modified()?)
                .is_ok_and(|old| old > age)
        {
            fs::remove_file(&path)?;
            removed.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    #[test]
    fn only_old_temporary_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Access::Write).unwrap();
        let folder = dir.path().join("cells/ab");
        fs::create_dir_all(&folder).unwrap();
        for name in [".old.tmp", ".new.tmp", "kept.json"] {
            fs::write(folder.join(name), "x").unwrap();
        }
        let day = Duration::from_secs(24 * 3600);
        for name in [".old.tmp", "kept.json"] {
            let file = fs::File::options()
                .write(true)
                .open(folder.join(name))
                .unwrap();
            file.set_modified(SystemTime::now() - 2 * day).unwrap();
        }
        assert_eq!(
            store.remove_stray_files(day).unwrap(),
            [folder.join(".old.tmp")]
        );
        assert!(folder.join(".new.tmp").is_file() && folder.join("kept.json").is_file());
    }
}
