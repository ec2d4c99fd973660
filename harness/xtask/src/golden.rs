//! `cargo xtask golden`: the exact outputs that CI must reproduce, computed anew.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::compile::{self, Profile};
use crate::workspace::{Workspace, succeed};

/// Runs the benches that CI runs, from an empty store with pinned instructions and threads, and
/// copies those of their CSV files that lie in results/golden there.
///
/// # Errors
/// When a bench fails or leaves none of these files.
pub fn regenerate(ws: &Workspace) -> Result<ExitCode> {
    compile::product(ws, Profile::Release)?;
    let ci = ws.root.join(".ci/run");
    let ci = fs::read_to_string(&ci).with_context(|| format!("{} is no text", ci.display()))?;
    for arguments in benches(&ci) {
        let bench = &arguments[1];
        let out = ws.target.join("golden").join(bench);
        if out.exists() {
            fs::remove_dir_all(&out)
                .with_context(|| format!("{} cannot be emptied", out.display()))?;
        }
        let mut harness = ws.command(ws.target.join("release/harness"));
        harness.current_dir(&ws.root);
        harness.args(&arguments).arg("--out").arg(&out);
        succeed(&mut harness, &format!("harness bench {bench}"))?;
        let mut n_written = 0;
        for golden in fs::read_dir(ws.root.join("results/golden"))? {
            let golden = golden?.path();
            let Some(csv) = golden.file_name().map(|name| out.join(name)) else {
                continue;
            };
            if !csv.exists() {
                continue;
            }
            fs::copy(&csv, &golden).with_context(|| {
                format!("{} cannot be copied to {}", csv.display(), golden.display())
            })?;
            eprintln!(
                "{} is written; `git diff --stat results/golden` shows whether it changed",
                golden.display()
            );
            n_written += 1;
        }
        ensure!(n_written > 0, "{} has no golden file", out.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The arguments of `harness` where CI runs a bench to compare its CSV, without its folder.
fn benches(ci: &str) -> Vec<Vec<String>> {
    let ci = ci.replace("\\\n", " ");
    let arguments = |line: &str| {
        let (_, run) = line.split_once(" bench ")?;
        let (run, _) = run.split_once(" --out ")?;
        let words = run.split_whitespace().map(str::to_owned).collect();
        let is_kept = run.contains(" --reproducible");
        is_kept.then(|| [vec!["bench".to_owned()], words].concat())
    };
    ci.lines().filter_map(arguments).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benches_are_those_that_ci_runs() {
        let ci = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.ci/run");
        let found = benches(&fs::read_to_string(ci).unwrap());
        assert_eq!(found.len(), 4, "{found:?}");
        let plain = "bench table2 --plugins ./plugins --reproducible";
        assert_eq!(found[0].join(" "), plain);
        let over_two_lines = "bench decoding-order --plugins ./plugins --reproducible \
                              --n-questions 12 --set shard_questions=6 --layers 2,5 --dlm-steps 20";
        assert_eq!(found[2].join(" "), over_two_lines);
    }
}
