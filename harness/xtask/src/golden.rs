//! `cargo xtask golden`: the exact outputs that CI must reproduce, computed anew.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::compile::{self, Profile};
use crate::workspace::{Workspace, succeed};

/// The benches whose CSV is kept, the options that make them small, and the files. `.ci/run` runs
/// the same, which a test holds.
const BENCHES: [(&str, &str, &[&str]); 4] = [
    ("table2", "", &["table2"]),
    ("fidelity", "--budget-tokens 5000", &["fidelity"]),
    (
        "decoding-order",
        "--n-questions 12 --set shard_questions=6 --layers 2,5 --dlm-steps 20",
        &["decoding-order", "accuracy"],
    ),
    ("autointerp", "--layers 2,5 --latents 8", &["autointerp"]),
];

/// Runs the benches from an empty store with pinned instructions and threads, and copies their CSV
/// to results/golden.
///
/// # Errors
/// When a bench fails or leaves no CSV of its name.
pub fn regenerate(ws: &Workspace) -> Result<ExitCode> {
    compile::product(ws, Profile::Release)?;
    for (bench, options, files) in BENCHES {
        let out = ws.target.join("golden").join(bench);
        if out.exists() {
            fs::remove_dir_all(&out)
                .with_context(|| format!("{} cannot be emptied", out.display()))?;
        }
        let mut harness = ws.command(ws.target.join("release/harness"));
        harness
            .current_dir(&ws.root)
            .args([
                "bench",
                bench,
                "--plugins",
                "./plugins",
                "--reproducible",
                "--out",
            ])
            .arg(&out)
            .args(options.split_whitespace());
        succeed(&mut harness, &format!("harness bench {bench}"))?;
        for file in files {
            let name = format!("{file}.csv");
            let csv = out.join(&name);
            let golden = ws.root.join("results/golden").join(&name);
            fs::copy(&csv, &golden).with_context(|| {
                format!("{} cannot be copied to {}", csv.display(), golden.display())
            })?;
            eprintln!(
                "results/golden/{name} is written; `git diff --stat results/golden` shows whether it changed"
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_runs_the_same_benches() {
        let ci = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.ci/run");
        let ci = fs::read_to_string(ci).unwrap().replace("\\\n", " ");
        let lines: Vec<Vec<&str>> = ci.lines().map(|l| l.split_whitespace().collect()).collect();
        for (bench, options, _) in BENCHES {
            let options: Vec<&str> = options.split_whitespace().collect();
            let is_run = |line: &Vec<&str>| {
                line.windows(2).any(|two| two == ["bench", bench])
                    && options.iter().all(|option| line.contains(option))
            };
            assert!(lines.iter().any(is_run), "bench {bench} {options:?}");
        }
    }
}
