//! Claims: which host process computes which cell, so that several of them that share a store
//! rarely compute a cell twice.
//!
//! ```text
//! STORE/claims/TOKEN.holder     one for each host process that works on the store, which raises a counter in the file every few seconds
//! STORE/claims/KEY.claim        one for each cell being computed: the token of its process, and nothing else
//! ```
//! A process claims a cell by creating the claim's file, which succeeds only where there is none,
//! and removes the file when the cell is finished. A claim counts while its holder lives: whoever
//! finds one of a dead holder removes it and claims anew. Of holders on this boot of this machine
//! the process table says whether they do; any other holder counts as dead once its counter has not
//! moved while the *observer* waited [`Pace::patience`]. Taking claims reads no clock of another
//! machine and compares no time of day, so clocks may differ and jump; only `left_behind`, which
//! finds old files, looks at their times. Results do not rest on claims: should two processes
//! compute a cell all the same, the store keeps one value.

mod holder;
mod take;
#[cfg(test)]
mod tests;

pub use holder::Holder;
pub use take::{Claims, Pace, Taken};

use holder::HOLDER;

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::StoreError;

/// Folder of claims in a store.
pub const FOLDER: &str = "claims";
const CLAIM: &str = ".claim";

/// Host processes that have a holder's file in a store and are not known to be gone, each with the
/// number of its claims. A process that was killed on another machine, or before this machine was
/// started again, is listed until somebody has watched its counter stand still and removed its
/// files.
///
/// # Errors
/// When the folder cannot be read.
pub fn at_work(store: &Path) -> Result<Vec<(Holder, u64)>, StoreError> {
    let dir = store.join(FOLDER);
    let me = Holder::of_this_process();
    let names = names(&dir)?;
    let tokens: Vec<String> = names
        .iter()
        .filter(|name| name.ends_with(CLAIM))
        .filter_map(|name| std::fs::read_to_string(dir.join(name)).ok())
        .collect();
    let holders = names
        .iter()
        .filter_map(|name| name.strip_suffix(HOLDER))
        .filter_map(|token| holder::read(&dir, token))
        .filter(|holder| !holder.is_gone(&me));
    Ok(holders
        .map(|holder| {
            let n = tokens.iter().filter(|t| **t == holder.token).count();
            (holder, n as u64)
        })
        .collect())
}

/// Files that processes have left behind: files of holders that have not changed for `age`, and
/// claims as old whose holder's file is missing, unreadable, as old, or of a process that is gone.
/// Nothing is removed here. Times of files may be another machine's, so that `age` must be far
/// above any difference of clocks.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn left_behind(store: &Path, age: Duration) -> Result<Vec<PathBuf>, StoreError> {
    let dir = store.join(FOLDER);
    let me = Holder::of_this_process();
    let is_old = |path: &Path| {
        let changed = std::fs::metadata(path).and_then(|meta| meta.modified());
        changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|d| d > age))
    };
    let is_lost = |token: &str| match holder::read(&dir, token) {
        Some(holder) => holder.is_gone(&me) || is_old(&dir.join(format!("{token}{HOLDER}"))),
        None => true,
    };
    let mut found = Vec::new();
    for name in names(&dir)? {
        let path = dir.join(&name);
        let is_left = if let Some(token) = name.strip_suffix(HOLDER) {
            is_lost(token)
        } else if name.ends_with(CLAIM) {
            std::fs::read_to_string(&path).is_ok_and(|token| is_lost(&token))
        } else {
            false
        };
        // A file that is just being made may be empty, and seems to have no holder.
        if is_left && is_old(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Names of the files in a folder, sorted; none where it does not exist.
fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let fail = |source| StoreError::CannotRead {
        path: dir.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(fail)?;
    names.sort();
    Ok(names)
}
