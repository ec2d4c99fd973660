//! `harness verify`: whether every file of a folder of results is whole.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use harness_contract::exit;
use harness_store::{Access, Verified};
use serde_json::{Value, json};

use super::existing::existing_store;
use crate::{failure::Failure, output, progress::Progress};

/// Read and check every file of a folder of results: checksums, keys and inputs of cells, kept
/// replies of judges, and what lies about. Nothing is changed.
#[derive(Args, Debug)]
#[command(
    after_help = "A finding costs a result, or may: a damaged or misplaced file, a missing input, a second value of a cell, a ledger that cannot be \
    read. A note costs none: failed and open cells, cells of another version, temporary files, what was put aside, files of other programs.\n\n\
    Exit codes: 0 no findings (with --strict: no notes either)   4 no results there   5 findings\n\n\
    Examples:\n  harness verify --out results/runs/table2\n  harness verify --out results/runs/table2 --format json"
)]
pub struct VerifyArgs {
    /// Folder of results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Notes count as findings
    #[arg(long)]
    strict: bool,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Counts, then each finding with what to do
    Table,
    /// One object
    Json,
}

pub fn run(args: &VerifyArgs) -> Result<u8, Failure> {
    let store = existing_store(&args.out, Access::Read)?;
    let mut progress = Progress::start(0, "files");
    let verified = store.verify(&mut |done, total| {
        progress.set(done, total);
        progress.describe("checking");
    });
    progress.finish();
    let verified = verified?;
    match args.format {
        Format::Table => output::result(&table(&verified))?,
        Format::Json => output::result(&format!("{:#}", json_of(&verified)))?,
    }
    let n = match args.strict {
        true => verified.findings.len(),
        false => verified.n_faults(),
    };
    Ok(if n == 0 { exit::OK } else { exit::PARTIAL })
}

fn table(verified: &Verified) -> String {
    let n_faults = verified.n_faults();
    let rows = [
        ("cells done", verified.done),
        ("cells failed", verified.failed),
        ("cells open", verified.open),
        ("cells damaged", verified.damaged),
        ("replies", verified.replies),
        ("replies damaged", verified.damaged_replies),
        ("findings", n_faults as u64),
        ("notes", (verified.findings.len() - n_faults) as u64),
    ];
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|(what, n)| vec![(*what).to_owned(), n.to_string()])
        .collect();
    let mut text = output::columns(&rows);
    for finding in &verified.findings {
        let kind = match finding.problem.is_harmless() {
            true => "note",
            false => "finding",
        };
        text.push_str(&format!(
            "\n{kind}: {}\n  {}\n  {}\n",
            output::sanitize(&finding.path.display().to_string()),
            output::sanitize(&finding.problem.to_string()),
            finding.problem.next()
        ));
    }
    text
}

fn json_of(verified: &Verified) -> Value {
    let findings: Vec<Value> = verified
        .findings
        .iter()
        .map(|finding| {
            json!({
                "path": finding.path.display().to_string(),
                "kind": finding.problem.name(),
                "what": finding.problem.to_string(),
                "next": finding.problem.next(),
                "is_note": finding.problem.is_harmless(),
            })
        })
        .collect();
    json!({
        "done": verified.done,
        "failed": verified.failed,
        "open": verified.open,
        "damaged": verified.damaged,
        "replies": verified.replies,
        "damaged_replies": verified.damaged_replies,
        "bytes": verified.bytes,
        "n_findings": verified.n_faults(),
        "n_notes": verified.findings.len() - verified.n_faults(),
        "findings": findings,
    })
}
