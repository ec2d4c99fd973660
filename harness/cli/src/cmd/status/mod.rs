//! `harness status`: what a folder of results holds, or which folders there are.

mod runs;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::Args;
use harness_contract::exit;
use harness_store::{Access, Lookup, Store, claims};

use crate::{failure::Failure, output};

/// What a folder of results holds: cells done, failed and open, how the last run ended, and who is
/// at work.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Folder of results [default: a list of the runs in results/runs, newest first]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Default)]
struct Counts {
    done: u64,
    failed: u64,
    open: u64,
    damaged: u64,
}

pub fn run(args: &StatusArgs) -> Result<u8, Failure> {
    match &args.out {
        Some(out) => of(out),
        None => runs::list(Path::new("results/runs")),
    }
}

fn of(out: &Path) -> Result<u8, Failure> {
    let store = Store::open(out, Access::Read)?;
    let mut stages: BTreeMap<String, Counts> = BTreeMap::new();
    let mut failures = Vec::new();
    for key in store.keys()? {
        match store.lookup(&key)? {
            Lookup::Missing => {}
            Lookup::Done(record) => stages.entry(record.stage).or_default().done += 1,
            Lookup::Failed(record) => {
                let is_open = record.is_open();
                if let Some(failure) = record.failure {
                    failures.push(format!(
                        "{} {}: {}",
                        record.stage,
                        &key[..12],
                        failure.told().replace('\n', "\n  ")
                    ));
                }
                let counts = stages.entry(record.stage).or_default();
                match is_open {
                    true => counts.open += 1,
                    false => counts.failed += 1,
                }
            }
            Lookup::Damaged { path, damage } => {
                failures.push(format!("{}: {damage}", path.display()));
                stages.entry("unknown".to_owned()).or_default().damaged += 1;
            }
        }
    }
    if stages.is_empty() {
        let message = format!("0 cells: {} holds no results", out.display());
        return Err(Failure::new(exit::NOTHING, message));
    }
    let mut rows = vec![
        ["stage", "done", "failed", "open", "damaged"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (stage, counts) in stages {
        rows.push(vec![
            stage,
            counts.done.to_string(),
            counts.failed.to_string(),
            counts.open.to_string(),
            counts.damaged.to_string(),
        ]);
    }
    output::result(&output::sanitize(&output::columns(&rows)))?;
    if let Some(manifest) = store.read_manifest() {
        let ended = match manifest.exit_code {
            Some(code) => format!("ended with exit code {code}"),
            None => "is under way, or was killed".to_owned(),
        };
        output::result(&format!(
            "\nlast run of {}: {} of {} cells done before, {} in it; it {ended}",
            output::sanitize(&manifest.bench),
            manifest.cells.reused,
            manifest.cells.planned,
            manifest.cells.done
        ))?;
    }
    for (holder, cells) in claims::at_work(out)? {
        output::result(&format!(
            "at work: {} with {cells} cells",
            output::sanitize(&holder.to_string())
        ))?;
    }
    for failure in failures {
        output::talk(&output::sanitize(&failure));
    }
    Ok(exit::OK)
}
