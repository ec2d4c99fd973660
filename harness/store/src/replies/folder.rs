use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{KeptReply, Ledger, ReplyDamage};
use harness_contract::files::write_if_absent;
use harness_contract::judging::Spent;

/// A folder of kept replies.
#[derive(Clone, Debug)]
pub struct Replies {
    dir: PathBuf,
}

/// The right to ask, which one process has at a time. It ends with this value, or with the process.
#[derive(Debug)]
pub struct Asking {
    /// Locked as long as it is open.
    _lock: File,
}

/// Why a folder of replies cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RepliesError {
    #[error("cannot read kept replies from {}: {source}", path.display())]
    CannotRead { path: PathBuf, source: io::Error },
    /// It cannot be written.
    #[error("cannot keep replies in {}: {source}", path.display())]
    CannotWrite { path: PathBuf, source: io::Error },
}

impl Replies {
    /// The replies of a folder, which comes into being with the first one.
    pub fn new(dir: &Path) -> Replies {
        Replies {
            dir: dir.to_owned(),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the reply to a request lies.
    pub fn path(&self, key: &str) -> PathBuf {
        self.dir
            .join(key.get(..2).unwrap_or("xx"))
            .join(format!("{key}.json"))
    }

    /// The reply to a request; `None` where there is none. A damaged file is moved to quarantine,
    /// and there is none.
    ///
    /// # Errors
    /// When a file cannot be read or moved.
    pub fn get(&self, key: &str) -> Result<Option<KeptReply>, RepliesError> {
        let path = self.path(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(RepliesError::CannotRead { path, source }),
        };
        match KeptReply::from_bytes(key, &bytes) {
            Ok(reply) => Ok(Some(reply)),
            Err(_) => self.quarantine(key, &path).map(|()| None),
        }
    }

    /// Keep a reply. One that is there already stays: it is the one earlier results were made from.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, key: &str, reply: &KeptReply) -> Result<(), RepliesError> {
        let path = self.path(key);
        let written = (reply.to_bytes().map_err(io::Error::other))
            .and_then(|bytes| write_if_absent(&path, &bytes));
        match written {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(source) => Err(RepliesError::CannotWrite { path, source }),
        }
    }

    /// Take the right to ask; `None` while another process has it.
    ///
    /// # Errors
    /// When the folder cannot be written or its file system has no locks.
    pub fn try_asking(&self) -> Result<Option<Asking>, RepliesError> {
        let path = self.dir.join("lock");
        let fail = |source| RepliesError::CannotWrite {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(&self.dir).map_err(fail)?;
        let lock = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Asking { _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(fail(source)),
        }
    }

    /// What a run has spent so far; asked by its supervisor when all its workers have ended, or
    /// with the right to ask.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn spent(&self, run: &str) -> Result<Spent, RepliesError> {
        let path = self.ledger();
        match Ledger::read(&path) {
            Ok(ledger) => Ok(ledger.of(run)),
            Err(source) => Err(RepliesError::CannotRead { path, source }),
        }
    }

    /// Enter what a run has spent, with the right to ask.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub fn enter(&self, _asking: &Asking, run: &str, spent: Spent) -> Result<(), RepliesError> {
        let path = self.ledger();
        let mut ledger = match Ledger::read(&path) {
            Ok(ledger) => ledger,
            Err(source) => return Err(RepliesError::CannotRead { path, source }),
        };
        ledger.runs.insert(run.to_owned(), spent);
        (ledger.write(&path)).map_err(|source| RepliesError::CannotWrite { path, source })
    }

    /// Change what a run has spent by so many calls and USD, with the right to ask; it never falls
    /// below 0.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub fn adjust(
        &self,
        asking: &Asking,
        run: &str,
        calls: i64,
        usd: f64,
    ) -> Result<(), RepliesError> {
        let spent = self.spent(run)?;
        let after = Spent {
            calls: spent.calls.saturating_add_signed(calls),
            usd: (spent.usd + usd).max(0.0),
        };
        self.enter(asking, run, after)
    }

    fn ledger(&self) -> PathBuf {
        self.dir.join("ledger.json")
    }

    /// Identities of the judges whose replies are kept here. Reads every file; damaged ones are
    /// passed over.
    ///
    /// # Errors
    /// When a folder cannot be read; a folder that is not there has no replies.
    pub fn judges(&self) -> Result<BTreeSet<String>, RepliesError> {
        let mut judges = BTreeSet::new();
        for folder in entries(&self.dir)? {
            let is_shard = folder.file_name().is_some_and(|name| name.len() == 2);
            if !is_shard || !folder.is_dir() {
                continue;
            }
            for file in entries(&folder)? {
                let Some(key) = file.file_stem().and_then(|stem| stem.to_str()) else {
                    continue;
                };
                let bytes = fs::read(&file).map_err(|source| RepliesError::CannotRead {
                    path: file.clone(),
                    source,
                })?;
                let read: Result<KeptReply, ReplyDamage> = KeptReply::from_bytes(key, &bytes);
                judges.extend(read.ok().map(|reply| reply.request.judge));
            }
        }
        Ok(judges)
    }

    fn quarantine(&self, key: &str, path: &Path) -> Result<(), RepliesError> {
        let dir = self.dir.join("quarantine");
        let to = (0..)
            .map(|i| dir.join(format!("{key}.{i}.json")))
            .find(|p| !p.exists())
            .unwrap_or_else(|| dir.join(key));
        let moved = fs::create_dir_all(&dir).and_then(|()| fs::rename(path, &to));
        match moved {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|source| RepliesError::CannotWrite { path: to, source }),
        }
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, RepliesError> {
    let fail = |source| RepliesError::CannotRead {
        path: dir.to_owned(),
        source,
    };
    match fs::read_dir(dir) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()
            .map_err(fail),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(fail(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replies::{REPLY_SCHEMA, ReplyMessage, ReplyRequest};

    fn reply(judge: &str, content: &str) -> (String, KeptReply) {
        let request = ReplyRequest {
            judge: judge.into(),
            task: "explain".into(),
            messages: vec![ReplyMessage {
                role: "user".into(),
                content: content.into(),
            }],
            max_tokens: 8,
            temperature: 0.0,
        };
        let reply = KeptReply {
            schema: REPLY_SCHEMA,
            request,
            text: r#"{"explanation":"boats"}"#.into(),
            tokens_in: 7,
            tokens_out: 3,
            usd: Some(0.25),
            comparable_with_paper: true,
            received_unix: 5,
        };
        (reply.request.key().unwrap(), reply)
    }

    #[test]
    fn replies_are_found_again_and_the_first_stays() {
        let dir = tempfile::tempdir().unwrap();
        let replies = Replies::new(&dir.path().join("replies"));
        let (key, first) = reply("a", "x");
        assert_eq!(replies.get(&key).unwrap(), None);
        replies.put(&key, &first).unwrap();
        let mut second = first.clone();
        second.text = "{}".into();
        replies.put(&key, &second).unwrap();
        assert_eq!(replies.get(&key).unwrap(), Some(first));
        let (other, of_other) = reply("b", "x");
        replies.put(&other, &of_other).unwrap();
        let judges: Vec<String> = replies.judges().unwrap().into_iter().collect();
        assert_eq!(judges, ["a", "b"]);
    }

    /// Cut at every length, changed at every place, or under another name: never read, never in the
    /// way.
    #[test]
    fn damaged_replies_are_put_aside_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let replies = Replies::new(dir.path());
        let (key, kept) = reply("a", "x");
        replies.put(&key, &kept).unwrap();
        let path = replies.path(&key);
        let whole = fs::read(&path).unwrap();
        let cut = (0..whole.len() - 1)
            .step_by(29)
            .map(|n| whole[..n].to_vec());
        let flipped = (0..whole.len() - 1).step_by(31).map(|n| {
            let mut bytes = whole.clone();
            bytes[n] ^= 1;
            bytes
        });
        let (_, moved) = reply("a", "y");
        let mut n = 0;
        for bytes in cut.chain(flipped).chain([moved.to_bytes().unwrap()]) {
            fs::write(&path, &bytes).unwrap();
            assert_eq!(replies.get(&key).unwrap(), None);
            assert!(!path.exists());
            replies.put(&key, &kept).unwrap();
            n += 1;
        }
        let aside = fs::read_dir(dir.path().join("quarantine")).unwrap();
        assert_eq!(aside.count(), n);
        assert_eq!(replies.judges().unwrap().len(), 1);
    }

    #[test]
    fn one_asks_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let replies = Replies::new(dir.path());
        let asking = replies.try_asking().unwrap().unwrap();
        assert!(replies.try_asking().unwrap().is_none());
        let spent = Spent { calls: 2, usd: 0.5 };
        replies.enter(&asking, "r", spent).unwrap();
        drop(asking);
        assert!(replies.try_asking().unwrap().is_some());
        assert_eq!(replies.spent("r").unwrap(), spent);
        assert_eq!(replies.spent("other").unwrap(), Spent::default());
    }
}
