use harness_contract::files::Placing;
use std::{io, ops::ControlFlow, path::PathBuf};

use super::{
    CellRecord, Damage, Lookup, Put, Store, StoreError,
    keys::{OF_REPLIES, Shards, read_file},
};
use crate::replies::{FOLDER as REPLIES, KeptReply, Replies, ReplyDamage};

/// What became of the cells and replies of a store that was merged into another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Done cells that were copied.
    pub copied: u64,
    /// Done cells that were there with the same value.
    pub same: u64,
    /// Open cells: copied where the target has no value of them.
    pub open: u64,
    /// Failed cells, which are not copied: a run tries them again.
    pub failed: u64,
    /// Replies that were copied.
    pub replies: u64,
    /// Replies that were there.
    pub same_replies: u64,
    /// Where values lie that differ from the ones that were there first.
    pub conflicts: Vec<PathBuf>,
    /// Damaged cells of the source, which stay where they are.
    pub damaged: Vec<(PathBuf, Damage)>,
    /// Damaged replies of the source, likewise.
    pub damaged_replies: Vec<(PathBuf, ReplyDamage)>,
    /// Whether it was told to stop before it was through.
    pub is_stopped: bool,
}

impl Store {
    /// Copy done and open cells and kept replies of another store into this one, each checked
    /// first. Nothing is overwritten but failures, damaged files and, by done cells, open ones: the
    /// same value counts as the same, another one is kept beside the first. It may be stopped at
    /// any moment and done again. `progress` is called with the files done and all there are, and
    /// may stop it.
    ///
    /// What runs have spent on judges (`replies/ledger.json`) and batches under way stay with the
    /// source.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn merge(
        &self,
        source: &Store,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Merged, StoreError> {
        let cells = source.keys()?;
        let from = Replies::new(&source.dir().join(REPLIES));
        let kept = Shards::read(from.dir(), &OF_REPLIES)?.keys;
        let total = (cells.len() + kept.len()) as u64;
        let mut merged = Merged::default();
        let mut n = 0;
        for (is_cell, key) in
            (cells.iter().map(|key| (true, key))).chain(kept.iter().map(|key| (false, key)))
        {
            if progress(n, total).is_break() {
                merged.is_stopped = true;
                return Ok(merged);
            }
            match is_cell {
                true => self.merge_cell(source, key, &mut merged)?,
                false => self.merge_reply(&from, key, &mut merged)?,
            }
            n += 1;
        }
        // Everything is there: too late to stop.
        let _ = progress(n, total);
        Ok(merged)
    }

    fn merge_cell(&self, source: &Store, key: &str, merged: &mut Merged) -> Result<(), StoreError> {
        let path = source.cell_path(key);
        let Some(bytes) = read_file(&path)? else {
            return Ok(());
        };
        let record = match CellRecord::from_bytes(key, &bytes) {
            Ok(record) => record,
            Err(damage) => {
                merged.damaged.push((path, damage));
                return Ok(());
            }
        };
        if record.failure.is_some() && !record.is_open() {
            merged.failed += 1;
            return Ok(());
        }
        // Looked up first: what is there need not be written to find that out.
        let there = self.lookup(key)?;
        if record.is_open() {
            merged.open += 1;
            let has_value = match there {
                Lookup::Done(_) => true,
                Lookup::Failed(first) => first.is_open(),
                Lookup::Missing | Lookup::Damaged { .. } => false,
            };
            return match has_value {
                true => Ok(()),
                false => self.write(&self.cell_path(key), &bytes, Placing::Replace),
            };
        }
        let put = match there {
            Lookup::Done(first) if first.output == record.output => Put::Same,
            Lookup::Done(_) => Put::Conflict {
                path: self.keep_conflict(&record, &bytes)?,
            },
            Lookup::Missing | Lookup::Failed(_) | Lookup::Damaged { .. } => {
                self.put_record(&record, &bytes)?
            }
        };
        match put {
            Put::Stored => merged.copied += 1,
            Put::Same => merged.same += 1,
            Put::Conflict { path } => merged.conflicts.push(path),
        }
        Ok(())
    }

    fn merge_reply(
        &self,
        from: &Replies,
        key: &str,
        merged: &mut Merged,
    ) -> Result<(), StoreError> {
        let path = from.path(key);
        let Some(bytes) = read_file(&path)? else {
            return Ok(());
        };
        let reply = match KeptReply::from_bytes(key, &bytes) {
            Ok(reply) => reply,
            Err(damage) => {
                merged.damaged_replies.push((path, damage));
                return Ok(());
            }
        };
        let to = Replies::new(&self.dir().join(REPLIES));
        if to.get(key)?.is_none() {
            match self.write(&to.path(key), &bytes, Placing::IfAbsent) {
                Ok(()) => {
                    merged.replies += 1;
                    return Ok(());
                }
                // Another process was faster.
                Err(StoreError::CannotWrite { source, .. })
                    if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        match to.get(key)? {
            Some(first) if first.text != reply.text => {
                let path = self.keep_reply_conflict(key, &reply, &bytes)?;
                merged.conflicts.push(path);
            }
            _ => merged.same_replies += 1,
        }
        Ok(())
    }

    /// Keep a second reply to a request, once however often it comes.
    fn keep_reply_conflict(
        &self,
        key: &str,
        reply: &KeptReply,
        bytes: &[u8],
    ) -> Result<PathBuf, StoreError> {
        let dir = self.dir().join(REPLIES).join("conflicts");
        for i in 0.. {
            let path = dir.join(format!("{key}.{i}.json"));
            let Some(kept) = read_file(&path)? else {
                self.write(&path, bytes, Placing::Replace)?;
                return Ok(path);
            };
            if KeptReply::from_bytes(key, &kept).is_ok_and(|kept| kept.text == reply.text) {
                return Ok(path);
            }
        }
        Ok(dir)
    }
}
