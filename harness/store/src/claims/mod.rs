//! Claims: which process computes which cell, so that several processes share a store without doing
//! anything twice.
//!
//! ```text
//! OUT/claims/TOKEN.holder       a process that works on the store, with a counter that it raises every few seconds
//! OUT/claims/KEY.claim          the token of the process that computes the cell
//! ```
//! A claim is a file that only one process can create. It is worth as much as its holder is alive:
//! on the same boot of the same machine the process table tells; elsewhere the holder's counter,
//! which must move while the *observer* waits [`Pace::patience`]. No clock of another machine is
//! read and no time of day compared, so clocks may differ and jump. Claims save work and never
//! guard results: should two processes compute one cell all the same, the store keeps one value.

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

/// Processes that work on a store, as far as they can be seen from here, each with the number of
/// cells it computes. Those of other machines count until somebody has waited for them in vain.
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

/// Files of holders that have not moved for `age`, and claims of holders that are not there: of
/// processes that were killed, on machines that nobody here can ask.
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
        let lost = if let Some(token) = name.strip_suffix(HOLDER) {
            is_lost(token)
        } else if name.ends_with(CLAIM) {
            std::fs::read_to_string(&path).is_ok_and(|token| is_lost(&token))
        } else {
            false
        };
        if lost && is_old(&path) {
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
