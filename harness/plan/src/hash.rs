//! Content hashes of files and folders, with a cache so that a 15 GB checkpoint is read once.
//!
//! An entry of the cache holds path, size and modification time. A file changed less than two seconds before it was hashed
//! is not remembered: a second change within the clock's granularity would go unseen.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::canonical::{sha256_hex, to_hex};

/// Smaller files are always read: hashing them costs less than being wrong.
const ALWAYS_READ_BELOW: u64 = 1 << 20;
const SETTLED_AFTER: Duration = Duration::from_secs(2);
const BUFFER_BYTES: usize = 1 << 20;

/// Hashes of large files, remembered.
#[derive(Debug, Default)]
pub struct HashCache {
    path: Option<PathBuf>,
    entries: BTreeMap<PathBuf, Entry>,
    changed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    bytes: u64,
    modified_ns: u64,
    sha256: String,
}

/// A file that could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct HashError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl HashCache {
    /// A cache that lives in memory only.
    pub fn in_memory() -> HashCache {
        HashCache::default()
    }

    /// The cache kept in a file. A missing or damaged file is an empty cache: it only costs time.
    pub fn open(path: &Path) -> HashCache {
        let entries = fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        HashCache {
            path: Some(path.to_owned()),
            entries,
            changed: false,
        }
    }

    /// SHA-256 of a file, 64 hex digits.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn file(&mut self, path: &Path) -> Result<String, HashError> {
        let fail = |source| HashError {
            path: path.to_owned(),
            source,
        };
        let full = fs::canonicalize(path).map_err(fail)?;
        let meta = fs::metadata(&full).map_err(fail)?;
        let modified = meta.modified().map_err(fail)?;
        let modified_ns = modified
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos() as u64);
        if let Some(entry) = self.entries.get(&full)
            && entry.bytes == meta.len()
            && entry.modified_ns == modified_ns
        {
            return Ok(entry.sha256.clone());
        }
        let sha256 = sha256_of(&full).map_err(fail)?;
        let settled = SystemTime::now()
            .duration_since(modified)
            .is_ok_and(|age| age > SETTLED_AFTER);
        if settled && meta.len() >= ALWAYS_READ_BELOW {
            self.entries.insert(
                full,
                Entry {
                    bytes: meta.len(),
                    modified_ns,
                    sha256: sha256.clone(),
                },
            );
            self.changed = true;
        }
        Ok(sha256)
    }

    /// Hash of a folder: of the names and contents of its files (not of deeper folders) for which `counts` is true.
    ///
    /// # Errors
    /// When the folder or a file cannot be read.
    pub fn folder(
        &mut self,
        dir: &Path,
        counts: impl Fn(&str) -> bool,
    ) -> Result<String, HashError> {
        let fail = |source| HashError {
            path: dir.to_owned(),
            source,
        };
        let mut lines = Vec::new();
        for entry in fs::read_dir(dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if counts(&name) && entry.path().is_file() {
                lines.push(format!("{name}\0{}\n", self.file(&entry.path())?));
            }
        }
        lines.sort_unstable();
        Ok(sha256_hex(lines.concat().as_bytes()))
    }

    /// Keep what was learned. A cache that cannot be written is only a slower next run, so the caller may ignore it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&mut self) -> io::Result<()> {
        let Some(path) = self.path.clone().filter(|_| self.changed) else {
            return Ok(());
        };
        let dir = path
            .parent()
            .filter(|d| !d.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut file = tempfile::Builder::new().suffix(".tmp").tempfile_in(dir)?;
        file.write_all(&serde_json::to_vec(&self.entries)?)?;
        file.persist(path)?;
        self.changed = false;
        Ok(())
    }
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; BUFFER_BYTES];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(to_hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_age(path: &Path, seconds: u64) {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    #[test]
    fn large_settled_files_are_remembered_until_they_change() {
        let dir = tempfile::tempdir().unwrap();
        let (big, cache_file) = (dir.path().join("big"), dir.path().join("hashes.json"));
        fs::write(&big, vec![7u8; ALWAYS_READ_BELOW as usize]).unwrap();
        set_age(&big, 100);
        let mut cache = HashCache::open(&cache_file);
        let first = cache.file(&big).unwrap();
        assert_eq!(first, sha256_hex(&vec![7u8; ALWAYS_READ_BELOW as usize]));
        cache.save().unwrap();

        // Same size and time: the remembered hash is given, which shows that the file was not read.
        fs::write(&big, vec![8u8; ALWAYS_READ_BELOW as usize]).unwrap();
        let entry = HashCache::open(&cache_file)
            .entries
            .into_values()
            .next()
            .unwrap();
        let time = UNIX_EPOCH + Duration::from_nanos(entry.modified_ns);
        File::options()
            .write(true)
            .open(&big)
            .unwrap()
            .set_modified(time)
            .unwrap();
        assert_eq!(HashCache::open(&cache_file).file(&big).unwrap(), first);

        set_age(&big, 50);
        assert_ne!(HashCache::open(&cache_file).file(&big).unwrap(), first);
    }

    #[test]
    fn fresh_and_small_files_are_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let (fresh, small) = (dir.path().join("fresh"), dir.path().join("small"));
        fs::write(&fresh, vec![1u8; ALWAYS_READ_BELOW as usize]).unwrap();
        fs::write(&small, b"abc").unwrap();
        set_age(&small, 100);
        let mut cache = HashCache::in_memory();
        cache.file(&fresh).unwrap();
        cache.file(&small).unwrap();
        assert!(cache.entries.is_empty());
    }

    #[test]
    fn folders_hash_names_and_contents_of_the_files_that_count() {
        let dir = tempfile::tempdir().unwrap();
        let hash = || {
            HashCache::in_memory()
                .folder(dir.path(), |name| name != "README.md")
                .unwrap()
        };
        fs::write(dir.path().join("a"), b"1").unwrap();
        let first = hash();
        fs::write(dir.path().join("README.md"), b"words").unwrap();
        assert_eq!(hash(), first);
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert_ne!(hash(), first);
        assert!(
            HashCache::in_memory()
                .file(&dir.path().join("none"))
                .unwrap_err()
                .to_string()
                .contains("none")
        );
    }

    #[test]
    fn a_damaged_cache_is_an_empty_cache() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hashes.json");
        fs::write(&path, b"{broken").unwrap();
        assert!(HashCache::open(&path).entries.is_empty());
    }
}
