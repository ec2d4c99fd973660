//! `harness merge`: the cells of several folders of results in one.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::Args;
use harness_contract::{exit, signals};
use harness_store::{
    Access, Merged, Store,
    replies::{FOLDER, Replies},
};

use super::existing::existing_store;
use crate::{failure::Failure, output, progress::Progress};

/// Copy done and open cells and kept replies of other folders of results into one, each checked
/// first. Nothing is overwritten.
#[derive(Args, Debug)]
#[command(
    after_help = "A cell that is there with the same value counts as the same; a different value goes to conflicts/, the first stays, and the exit \
    code is 5. Damaged cells are named and left where they are; failed cells are not copied; an open cell \
    is copied where there is no value of it. It may be interrupted and given again. What was \
    spent on judges (replies/ledger.json) and batches under way stay with their folder.\n\n\
    Exit codes: 0 all there   5 conflicts or damaged files   75 interrupted, the same command goes on\n\n\
    Examples:\n  harness merge --out results/runs/table2 node1/table2 node2/table2\n  \
    harness bench table2 --plugins ./plugins       # then makes the CSV, and runs what is missing"
)]
pub struct MergeArgs {
    /// Folder of results that takes them in; comes into being where there is none
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folders of results that are copied from
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<PathBuf>,
}

pub fn run(args: &MergeArgs) -> Result<u8, Failure> {
    // All are looked at before anything is written.
    let mut sources = Vec::new();
    for dir in &args.sources {
        if is_same(dir, &args.out) {
            let message = format!("{} cannot be merged into itself", dir.display());
            return Err(Failure::new(exit::USAGE, message).hint("name other folders after --out"));
        }
        sources.push(existing_store(dir, Access::Read)?);
    }
    let target = Store::open(&args.out, Access::Write)?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    signals::watch(move |_| told.store(true, Ordering::Relaxed));
    let header = [
        "from",
        "copied",
        "same",
        "open",
        "failed, left",
        "damaged, left",
        "conflicts",
        "replies",
        "same replies",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut is_whole = true;
    for source in &sources {
        let mut progress = Progress::start(0, "files");
        let shown = output::sanitize(&source.dir().display().to_string());
        let merged = target.merge(source, &mut |done, total| {
            progress.set(done, total);
            progress.describe(&shown);
            match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        progress.finish();
        let merged = merged?;
        tell(&merged);
        tell_batches(source);
        let n_damaged = merged.damaged.len() + merged.damaged_replies.len();
        is_whole &= n_damaged == 0 && merged.conflicts.is_empty();
        let mut row = vec![shown];
        row.extend([
            merged.copied.to_string(),
            merged.same.to_string(),
            merged.open.to_string(),
            merged.failed.to_string(),
            n_damaged.to_string(),
            merged.conflicts.len().to_string(),
            merged.replies.to_string(),
            merged.same_replies.to_string(),
        ]);
        rows.push(row);
        if merged.is_stopped {
            output::result(&output::columns(&rows))?;
            output::talk("interrupted: the same command goes on from here");
            return Ok(exit::INTERRUPTED);
        }
    }
    output::result(&output::columns(&rows))?;
    output::talk(&format!(
        "the bench command with --out {} makes the CSV from these cells, and runs what is missing",
        args.out.display()
    ));
    Ok(if is_whole { exit::OK } else { exit::PARTIAL })
}

fn tell(merged: &Merged) {
    let shown = |path: &Path| output::sanitize(&path.display().to_string());
    for path in &merged.conflicts {
        output::warn(&format!(
            "{}: differs from the first, which stays",
            shown(path)
        ));
    }
    for (path, damage) in &merged.damaged {
        output::warn(&format!(
            "{}: not copied: {}",
            shown(path),
            output::sanitize(&damage.to_string())
        ));
    }
    for (path, damage) in &merged.damaged_replies {
        output::warn(&format!(
            "{}: not copied: {}",
            shown(path),
            output::sanitize(&damage.to_string())
        ));
    }
}

/// A batch under way is paid for and not answered yet: it must not be forgotten with its folder.
fn tell_batches(source: &Store) {
    let replies = Replies::new(&source.dir().join(FOLDER));
    match replies.batches() {
        Ok(batches) if batches.is_empty() => {}
        Ok(batches) => output::warn(&format!(
            "{}: {} batches of questions are under way: run its bench again to fetch the answers, then merge again",
            source.dir().display(),
            batches.len()
        )),
        Err(error) => output::warn(&error.to_string()),
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
