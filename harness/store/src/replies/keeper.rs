use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

use super::{KeptReply, Replies, RepliesError};
use harness_contract::files::{place_if_absent, sync_folder};

/// Files that are synced before their folders are, and their replies told.
const TOGETHER: usize = 32;

/// Keeps replies while others are asked for.
///
/// A reply is in its file when [`Keeper::put`] returns, so that a process that is killed has lost
/// none. It counts when [`Keeper::kept`] names it: then it is on the disk too. Waiting for the disk
/// is done by threads of its own.
pub struct Keeper {
    replies: Replies,
    jobs: Option<Sender<Job>>,
    done: Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
    n_open: usize,
}

/// A file to be synced.
struct Job {
    number: usize,
    path: PathBuf,
    file: File,
}

type Done = (usize, Result<(), RepliesError>);

impl Keeper {
    /// A keeper for a folder, with at least one thread.
    pub fn new(replies: &Replies, threads: usize) -> Keeper {
        let (jobs, waiting) = mpsc::channel();
        let (tell, done) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let threads = (0..threads.max(1))
            .map(|_| {
                let (waiting, tell) = (Arc::clone(&waiting), tell.clone());
                thread::spawn(move || sync_all(&waiting, &tell))
            })
            .collect();
        Keeper {
            replies: replies.clone(),
            jobs: Some(jobs),
            done,
            threads,
            n_open: 0,
        }
    }

    /// Write a reply; [`Keeper::kept`] tells its number when it is safe. One that is there already
    /// stays.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&mut self, number: usize, key: &str, reply: &KeptReply) -> Result<(), RepliesError> {
        let path = self.replies.path(key);
        let fail = |source| RepliesError::CannotWrite {
            path: path.clone(),
            source,
        };
        let bytes = reply.to_bytes().map_err(io::Error::other).map_err(fail)?;
        let file = match place_if_absent(&path, &bytes) {
            Ok(file) => file,
            // It may be another's that is not on the disk yet.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                File::open(&path).map_err(fail)?
            }
            Err(error) => return Err(fail(error)),
        };
        let gone = || io::Error::other("the threads that keep replies have ended");
        let jobs = self.jobs.as_ref().ok_or_else(gone).map_err(fail)?;
        let job = Job {
            number,
            path: path.clone(),
            file,
        };
        jobs.send(job).map_err(|_| fail(gone()))?;
        self.n_open += 1;
        Ok(())
    }

    /// Numbers of replies that have become safe since the last call, without waiting.
    ///
    /// # Errors
    /// When one could not be brought to the disk.
    pub fn kept(&mut self) -> Result<Vec<usize>, RepliesError> {
        let mut numbers = Vec::new();
        while let Ok((number, synced)) = self.done.try_recv() {
            self.n_open -= 1;
            synced?;
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// Waits until all are safe; numbers of those that [`Keeper::kept`] has not told.
    ///
    /// # Errors
    /// When one could not be brought to the disk.
    pub fn finish(mut self) -> Result<Vec<usize>, RepliesError> {
        self.jobs = None;
        let mut numbers = Vec::new();
        while self.n_open > 0 {
            let (number, synced) = self.done.recv().map_err(|_| RepliesError::CannotWrite {
                path: self.replies.dir().to_owned(),
                source: io::Error::other("the threads that keep replies have ended"),
            })?;
            self.n_open -= 1;
            synced?;
            numbers.push(number);
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has told nothing of its replies, and the wait above has failed
            // for them.
            let _ = thread.join();
        }
        Ok(numbers)
    }
}

/// Syncs files as they come, several at a time before their folders.
fn sync_all(waiting: &Mutex<Receiver<Job>>, tell: &Sender<Done>) {
    loop {
        let jobs: Vec<Job> = {
            let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(first) = waiting.recv() else {
                return;
            };
            std::iter::once(first)
                .chain(waiting.try_iter().take(TOGETHER - 1))
                .collect()
        };
        let synced: Vec<io::Result<()>> = jobs.iter().map(|job| job.file.sync_all()).collect();
        let mut folders = BTreeSet::new();
        for job in &jobs {
            if folders.insert(job.path.parent()) {
                sync_folder(&job.path);
            }
        }
        for (job, synced) in jobs.into_iter().zip(synced) {
            let path = job.path;
            let synced = synced.map_err(|source| RepliesError::CannotWrite { path, source });
            // Nobody listens any more after an earlier failure.
            let _ = tell.send((job.number, synced));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replies::{REPLY_SCHEMA, ReplyMessage, ReplyRequest};

    fn reply(words: &str) -> (String, KeptReply) {
        let reply = KeptReply {
            schema: REPLY_SCHEMA,
            request: ReplyRequest {
                judge: "a".into(),
                task: "explain".into(),
                messages: vec![ReplyMessage {
                    role: "user".into(),
                    content: words.into(),
                }],
                max_tokens: 9,
                temperature: 0.0,
            },
            text: "{}".into(),
            tokens_in: 1,
            tokens_out: 1,
            usd: None,
            comparable_with_paper: false,
            received_unix: 0,
        };
        (reply.request.key().unwrap(), reply)
    }

    #[test]
    fn every_reply_is_there_at_once_and_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let replies = Replies::new(&dir.path().join("replies"));
        for threads in [1, 5] {
            let mut keeper = Keeper::new(&replies, threads);
            let mut told = Vec::new();
            for i in 0..200 {
                let (key, reply) = reply(&format!("{threads} {i}"));
                keeper.put(i, &key, &reply).unwrap();
                assert_eq!(replies.get(&key).unwrap(), Some(reply));
                told.extend(keeper.kept().unwrap());
            }
            told.extend(keeper.finish().unwrap());
            told.sort_unstable();
            assert_eq!(told, (0..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_reply_stays_and_a_folder_that_is_a_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let replies = Replies::new(dir.path());
        let (key, first) = reply("x");
        replies.put(&key, &first).unwrap();
        let mut second = first.clone();
        second.text = "[]".into();
        let mut keeper = Keeper::new(&replies, 1);
        keeper.put(0, &key, &second).unwrap();
        assert_eq!(keeper.finish().unwrap(), [0]);
        assert_eq!(replies.get(&key).unwrap(), Some(first));
        let blocked = dir.path().join("file");
        std::fs::write(&blocked, "").unwrap();
        let mut keeper = Keeper::new(&Replies::new(&blocked), 1);
        assert!(keeper.put(0, &key, &second).is_err());
        assert!(keeper.finish().unwrap().is_empty());
    }
}
