//! Content hashes of files and folders, with a cache so that a 15 GB checkpoint is read once.
//!
//! An entry of the cache holds a file's path and its stamp: inode, size, and the times of the last
//! change of content and of metadata. Tools that copy with times kept (`cp -p`, `tar`, `rsync -t`)
//! set the first time, and no tool sets the second. A file changed less than two seconds before it
//! was hashed is not remembered: a second change within the clock's granularity would go unseen.

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use harness_weights::InputError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::canonical::{sha256_hex, to_hex};

/// Smaller files are always read: hashing them costs less than being wrong.
const ALWAYS_READ_BELOW: u64 = 1 << 20;
const SETTLED_AFTER: Duration = Duration::from_secs(2);
const BUFFER_BYTES: usize = 1 << 20;

/// Times a file that changes meanwhile is hashed before that is an error.
const MOST_TRIES: usize = 2;

/// Hashes of large files, remembered.
#[derive(Debug)]
pub struct HashCache {
    path: Option<PathBuf>,
    entries: BTreeMap<PathBuf, Entry>,
    changed: bool,
    now: fn() -> SystemTime,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    stamp: Stamp,
    sha256: String,
}

/// What the file system says of a file's content without its being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamp {
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds since 1970 of the last change of content, which any owner may set.
    modified: (i64, i64),
    /// The same of the last change of content or metadata, which only the system sets.
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Stamp {
        Stamp {
            inode: meta.ino(),
            bytes: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether the last change is so long ago that another one would have another time.
    fn is_settled(&self, now: SystemTime) -> bool {
        let (seconds, _) = self.modified.max(self.changed);
        let last = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        // The fraction of a second that is left out here would make the file older.
        now.duration_since(last)
            .is_ok_and(|age| age > SETTLED_AFTER + Duration::from_secs(1))
    }
}

impl HashCache {
    /// A cache that lives in memory only.
    pub fn in_memory() -> HashCache {
        HashCache {
            path: None,
            entries: BTreeMap::new(),
            changed: false,
            now: SystemTime::now,
        }
    }

    /// The cache kept in a file. A missing or damaged file, or one of an earlier version, is an
    /// empty cache: it only costs time.
    pub fn open(path: &Path) -> HashCache {
        let entries = fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        HashCache {
            path: Some(path.to_owned()),
            entries,
            ..HashCache::in_memory()
        }
    }

    /// SHA-256 of a file, 64 hex digits.
    ///
    /// # Errors
    /// When it cannot be read, or changes while it is read.
    pub fn file(&mut self, path: &Path) -> Result<String, InputError> {
        let fail = InputError::io(path);
        let full = fs::canonicalize(path).map_err(&fail)?;
        let stamp = stamp_of(&full).map_err(&fail)?;
        if let Some(entry) = self.entries.get(&full)
            && entry.stamp == stamp
        {
            return Ok(entry.sha256.clone());
        }
        let is_settled = stamp.is_settled((self.now)());
        let (stamp, sha256) = hash_at_rest(&full, stamp).map_err(&fail)?;
        // The file of the cache is JSON, which holds no path that is not UTF-8.
        if is_settled && stamp.bytes >= ALWAYS_READ_BELOW && full.to_str().is_some() {
            let sha256 = sha256.clone();
            self.entries.insert(full, Entry { stamp, sha256 });
            self.changed = true;
        }
        Ok(sha256)
    }

    /// Hash of a folder: of the names and contents of its files (not of deeper folders) for which
    /// `counts` is true.
    ///
    /// # Errors
    /// When the folder or a file cannot be read.
    pub fn folder(
        &mut self,
        dir: &Path,
        counts: impl Fn(&str) -> bool,
    ) -> Result<String, InputError> {
        let fail = InputError::io(dir);
        let mut lines = Vec::new();
        for entry in fs::read_dir(dir).map_err(&fail)? {
            let entry = entry.map_err(&fail)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if counts(&name) && entry.path().is_file() {
                lines.push(format!("{name}\0{}\n", self.file(&entry.path())?));
            }
        }
        lines.sort_unstable();
        Ok(sha256_hex(lines.concat().as_bytes()))
    }

    /// Keep what was learned. A cache that cannot be written is only a slower next run, so the
    /// caller may ignore it.
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

fn stamp_of(path: &Path) -> io::Result<Stamp> {
    Ok(Stamp::of(&fs::metadata(path)?))
}

/// The hash of a file that has the same stamp before and after; that stamp was `before` when it was
/// last looked at.
fn hash_at_rest(path: &Path, before: Stamp) -> io::Result<(Stamp, String)> {
    let mut before = before;
    for _ in 0..MOST_TRIES {
        let sha256 = sha256_of(path)?;
        let after = stamp_of(path)?;
        if after == before {
            return Ok((after, sha256));
        }
        before = after;
    }
    Err(io::Error::other(
        "it changes while it is read; start again when it is whole",
    ))
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

    /// Opens a cache whose clock is an hour ahead, so that files of this test have settled.
    fn an_hour_later(path: &Path) -> HashCache {
        HashCache {
            now: || SystemTime::now() + Duration::from_secs(3600),
            ..HashCache::open(path)
        }
    }

    fn big(byte: u8) -> Vec<u8> {
        vec![byte; ALWAYS_READ_BELOW as usize]
    }

    #[test]
    fn large_settled_files_are_remembered_until_they_change() {
        let dir = tempfile::tempdir().unwrap();
        let (file, cache_file) = (dir.path().join("big"), dir.path().join("hashes.json"));
        fs::write(&file, big(7)).unwrap();
        let mut cache = an_hour_later(&cache_file);
        let first = cache.file(&file).unwrap();
        assert_eq!(first, sha256_hex(&big(7)));
        // An entry with the file's stamp is believed, which shows that the file is not read again.
        for entry in cache.entries.values_mut() {
            entry.sha256 = "remembered".to_owned();
        }
        cache.save().unwrap();
        assert_eq!(
            an_hour_later(&cache_file).file(&file).unwrap(),
            "remembered"
        );
        set_age(&file, 50);
        assert_eq!(an_hour_later(&cache_file).file(&file).unwrap(), first);
    }

    #[test]
    fn files_replaced_with_size_and_time_kept_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join("big"), dir.path().join("other"));
        fs::write(&file, big(1)).unwrap();
        set_age(&file, 100);
        let kept = fs::metadata(&file).unwrap().modified().unwrap();
        let keep_time = |path: &Path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(kept).unwrap();
        };
        let mut cache = an_hour_later(&dir.path().join("hashes.json"));
        assert_eq!(cache.file(&file).unwrap(), sha256_hex(&big(1)));
        assert_eq!(cache.entries.len(), 1);
        // In place, as `cp -p` and `rsync --inplace -t` do it.
        fs::write(&file, big(2)).unwrap();
        keep_time(&file);
        assert_eq!(cache.file(&file).unwrap(), sha256_hex(&big(2)));
        // By a file of that name in its place, as `tar` and `rsync -t` do it.
        fs::write(&other, big(3)).unwrap();
        keep_time(&other);
        fs::rename(&other, &file).unwrap();
        assert_eq!(cache.file(&file).unwrap(), sha256_hex(&big(3)));
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("big");
        fs::write(&file, big(1)).unwrap();
        let before = stamp_of(&file).unwrap();
        fs::write(&file, [1, 2, 3]).unwrap();
        let (stamp, sha256) = hash_at_rest(&file, before).unwrap();
        assert_eq!((stamp.bytes, sha256), (3, sha256_hex(&[1, 2, 3])));
    }

    #[test]
    fn fresh_and_small_files_are_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let (fresh, small) = (dir.path().join("fresh"), dir.path().join("small"));
        fs::write(&fresh, big(1)).unwrap();
        // The time of its content is old, but it was put there just now.
        set_age(&fresh, 100);
        fs::write(&small, b"abc").unwrap();
        let mut cache = HashCache::in_memory();
        cache.file(&fresh).unwrap();
        assert!(cache.entries.is_empty());
        let mut cache = an_hour_later(&dir.path().join("hashes.json"));
        cache.file(&small).unwrap();
        assert!(cache.entries.is_empty());
        cache.file(&fresh).unwrap();
        assert_eq!(cache.entries.len(), 1);
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
