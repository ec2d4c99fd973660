//! Cells that other processes on the same store compute: they are left to them, and waited for when
//! nothing else is left.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use harness_contract::cell::Cell;
use harness_store::{
    Store,
    claims::{Claims, Holder, Taken},
};

use crate::{failure::Failure, output};

/// How often a cell that another process has is looked for in the store.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What this process and others have of the cells of a run.
pub struct Sharing {
    claims: Claims,
    /// Cells of other processes, and when they are looked for again.
    elsewhere: BTreeMap<String, (Holder, Instant)>,
    /// Cells that turned out to be done when they were claimed.
    found: Vec<String>,
}

impl Sharing {
    /// With the claims of this process.
    pub fn new(claims: Claims) -> Sharing {
        Sharing {
            claims,
            elsewhere: BTreeMap::new(),
            found: Vec::new(),
        }
    }

    /// Claim cells; those that no other process has, and that none has done meanwhile, are
    /// returned.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn claim<'c>(
        &mut self,
        store: &Store,
        cells: Vec<&'c Cell>,
    ) -> Result<Vec<&'c Cell>, Failure> {
        let mut ours = Vec::new();
        for cell in cells {
            match self.claims.take(&cell.key)? {
                Taken::Theirs(holder) => {
                    let when = Instant::now() + LOOK_EVERY;
                    self.elsewhere.insert(cell.key.clone(), (holder, when));
                }
                // Between the last look at the store and the claim another process may have done
                // it.
                Taken::Mine if store.is_done(&cell.key)? => {
                    self.claims.release(&cell.key);
                    self.found.push(cell.key.clone());
                }
                Taken::Mine => ours.push(cell),
            }
        }
        Ok(ours)
    }

    /// A cell of this process has ended, one way or the other.
    pub fn release(&mut self, key: &str) {
        self.claims.release(key);
    }

    /// Cells that other processes have done since the last call. Those they have neither done nor
    /// have any more are nobody's again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn arrived(&mut self, store: &Store) -> Result<Vec<String>, Failure> {
        let mut done = std::mem::take(&mut self.found);
        let now = Instant::now();
        let due: Vec<String> = (self.elsewhere.iter())
            .filter(|(_, (_, when))| *when <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.elsewhere.remove(&key);
            if store.is_done(&key)? {
                done.push(key);
            }
        }
        Ok(done)
    }

    /// Whether another process has a cell, as far as is known.
    pub fn is_elsewhere(&self, key: &str) -> bool {
        self.elsewhere.contains_key(key)
    }

    /// Whether no cell is known to be with another process.
    pub fn is_alone(&self) -> bool {
        self.elsewhere.is_empty() && self.found.is_empty()
    }

    /// What is waited for, in words; `None` when nothing is.
    pub fn waits_for(&self) -> Option<String> {
        let (holder, _) = self.elsewhere.values().next()?;
        let holder = output::sanitize(&holder.to_string());
        Some(match self.elsewhere.len() {
            1 => format!("waiting for a cell of {holder}"),
            n => format!("waiting for {n} cells of {holder}"),
        })
    }
}
