use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    CLAIM, FOLDER, Holder,
    holder::{self, HOLDER},
    names,
};
use crate::{Store, StoreError};
use harness_contract::files::{place_if_absent, replace_soon};

/// Rounds of taking and being too late before a claim counts as somebody else's.
const ROUNDS: u32 = 8;

/// How often a holder shows that it lives, and how long others wait for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Time between two signs of life.
    pub beat: Duration,
    /// Time without one after which a holder on another machine counts as dead.
    pub patience: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            beat: Duration::from_secs(5),
            patience: Duration::from_secs(90),
        }
    }
}

/// Who computes a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// This process.
    Mine,
    /// Another one, which is alive as far as is known.
    Theirs(Holder),
}

/// The claims of this process on the cells of a store. They end with it, whatever way it ends.
pub struct Claims {
    dir: PathBuf,
    me: Holder,
    pace: Pace,
    held: BTreeSet<String>,
    /// Holders on other machines: their counter when it was last seen to move, and when that was.
    watched: BTreeMap<String, (u64, Instant)>,
    heart: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Claims {
    /// Begin to work on a store: others see this process from now on. What dead processes of this
    /// machine have left is removed.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn begin(store: &Store, pace: Pace) -> Result<Claims, StoreError> {
        let mut claims = Claims {
            dir: store.dir().join(FOLDER),
            me: Holder::of_this_process(),
            pace,
            held: BTreeSet::new(),
            watched: BTreeMap::new(),
            heart: None,
        };
        let path = claims.path(&claims.me.token, HOLDER);
        write_holder(&path, &claims.me).map_err(cannot_write(&path))?;
        claims.sweep()?;
        let (stop, wait) = mpsc::channel();
        let (mut me, beat) = (claims.me.clone(), pace.beat);
        let heart = thread::spawn(move || {
            while wait.recv_timeout(beat) == Err(RecvTimeoutError::Timeout) {
                me.beat += 1;
                // A sign of life that cannot be written at worst has others do the same cells.
                let _ = write_holder(&path, &me);
            }
        });
        claims.heart = Some((stop, heart));
        Ok(claims)
    }

    /// Claim a cell.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn take(&mut self, key: &str) -> Result<Taken, StoreError> {
        let path = self.path(key, CLAIM);
        let mut seen = None;
        for _ in 0..ROUNDS {
            match place_if_absent(&path, self.me.token.as_bytes()) {
                Ok(_) => {
                    self.held.insert(key.to_owned());
                    return Ok(Taken::Mine);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot_write(&path)(error)),
            }
            let Ok(token) = fs::read_to_string(&path) else {
                // It has been given back just now.
                continue;
            };
            if token == self.me.token {
                self.held.insert(key.to_owned());
                return Ok(Taken::Mine);
            }
            match holder::read(&self.dir, &token) {
                Some(holder) if self.is_alive(&holder) => return Ok(Taken::Theirs(holder)),
                holder => {
                    seen = holder;
                    self.break_claim(&path, &token)?;
                }
            }
        }
        // Others are faster, time and again: one of them has it.
        Ok(Taken::Theirs(seen.unwrap_or_else(|| self.me.clone())))
    }

    /// Give a cell back, done or not.
    pub fn release(&mut self, key: &str) {
        if self.held.remove(key) {
            // A claim that cannot be removed ends with this process.
            let _ = fs::remove_file(self.path(key, CLAIM));
        }
    }

    fn is_alive(&mut self, holder: &Holder) -> bool {
        if holder.is_gone(&self.me) {
            return false;
        }
        if !holder.boot.is_empty() && holder.boot == self.me.boot {
            return true;
        }
        let now = Instant::now();
        let (beat, since) = (self.watched)
            .entry(holder.token.clone())
            .or_insert((holder.beat, now));
        if *beat != holder.beat {
            (*beat, *since) = (holder.beat, now);
        }
        since.elapsed() < self.pace.patience
    }

    /// Remove the claim of a dead holder. Another process may do the same and have claimed the cell
    /// already: the file is moved aside, looked at, and put back when it is not the dead one's.
    fn break_claim(&self, path: &Path, token: &str) -> Result<(), StoreError> {
        let aside = self.dir.join(format!(".{}.tmp", self.me.token));
        match fs::rename(path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(cannot_write(path))?,
        }
        let is_the_dead_ones = fs::read_to_string(&aside).is_ok_and(|found| found == token);
        if !is_the_dead_ones {
            match fs::hard_link(&aside, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(cannot_write(path))?,
            }
        }
        fs::remove_file(&aside).map_err(cannot_write(&aside))
    }

    /// Remove what processes of this machine that have ended left behind: their claims, then their
    /// own files.
    fn sweep(&self) -> Result<(), StoreError> {
        let names = names(&self.dir)?;
        let gone: Vec<String> = names
            .iter()
            .filter_map(|name| holder::read(&self.dir, name.strip_suffix(HOLDER)?))
            .filter(|holder| holder.is_gone(&self.me))
            .map(|holder| holder.token)
            .collect();
        for name in names.iter().filter(|name| name.ends_with(CLAIM)) {
            let path = self.dir.join(name);
            if let Ok(token) = fs::read_to_string(&path)
                && gone.contains(&token)
            {
                self.break_claim(&path, &token)?;
            }
        }
        for token in gone {
            // Another process that sweeps may have been faster.
            let _ = fs::remove_file(self.path(&token, HOLDER));
        }
        Ok(())
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.dir.join(format!("{name}{kind}"))
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        if let Some((stop, heart)) = self.heart.take() {
            drop(stop);
            // A heart that panicked has stopped, which is all that is wanted.
            let _ = heart.join();
        }
        for key in std::mem::take(&mut self.held) {
            let _ = fs::remove_file(self.path(&key, CLAIM));
        }
        let _ = fs::remove_file(self.path(&self.me.token, HOLDER));
    }
}

fn write_holder(path: &Path, holder: &Holder) -> io::Result<()> {
    replace_soon(path, &serde_json::to_vec(holder)?)
}

fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::CannotWrite { path, source }
}
