//! `harness slurm status`: what the store has of what was submitted, and what Slurm says of the
//! jobs.

use std::path::PathBuf;

use clap::Args;
use harness_contract::exit;
use harness_plan::shards::ShardPlan;
use harness_store::{Access, Lookup, Store};

use super::{submission::Submission, tools};
use crate::{failure::Failure, output};

/// How far the submissions of a folder of results are: cells by the store, jobs by `squeue` where
/// it is there.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Folder of results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &StatusArgs) -> Result<u8, Failure> {
    let submissions = Submission::all(&args.out)?;
    if submissions.is_empty() {
        let message = format!("nothing was submitted for {}", args.out.display());
        return Err(Failure::new(exit::NOTHING, message).hint("`harness slurm submit --help`"));
    }
    let store = Store::open(&args.out, Access::Read)?;
    let mut rows = vec![
        [
            "submission",
            "bench",
            "cells",
            "done",
            "failed",
            "open",
            "chunks",
            "whole",
            "jobs",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    let mut all_jobs = Vec::new();
    for submission in &submissions {
        let plan = ShardPlan::read(&submission.file("plan.json"))?;
        let (mut cells, mut done, mut failed, mut open, mut whole) = (0, 0, 0, 0, 0);
        for chunk in &plan.chunks {
            let before = done;
            for key in &chunk.cells {
                match store.lookup(key)? {
                    Lookup::Done(_) => done += 1,
                    Lookup::Failed(record) if record.is_open() => open += 1,
                    Lookup::Failed(_) => failed += 1,
                    Lookup::Missing | Lookup::Damaged { .. } => {}
                }
            }
            cells += chunk.cells.len();
            whole += usize::from(done - before == chunk.cells.len());
        }
        let jobs = submission.jobs();
        let jobs: Vec<String> = jobs.array.into_iter().chain(jobs.merge).collect();
        let name = submission.dir.file_name().unwrap_or_default();
        rows.push(vec![
            name.to_string_lossy().into_owned(),
            output::sanitize(&plan.bench),
            cells.to_string(),
            done.to_string(),
            failed.to_string(),
            open.to_string(),
            plan.chunks.len().to_string(),
            whole.to_string(),
            output::sanitize(&jobs.join(", ")),
        ]);
        all_jobs.extend(jobs);
    }
    output::result(&output::columns(&rows))?;
    match tools::squeue(&all_jobs) {
        Some(lines) if lines.is_empty() => output::result("none of these jobs waits or runs")?,
        Some(lines) => output::result(&format!("jobs that wait or run:\n{lines}"))?,
        None => output::talk("squeue does not answer here, so nothing is known of the jobs"),
    }
    Ok(exit::OK)
}
