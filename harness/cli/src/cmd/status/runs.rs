//! The runs below results/runs, for who does not know the folder's name.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use harness_contract::{exit, sanitize::one_line};
use harness_store::{Access, RunManifest, Store};

use crate::{failure::Failure, output};

/// Folders of runs below a folder: those of `bench all --out DIR` lie one below the other.
const MAX_DEPTH: u32 = 3;

/// The end of the year 9999, the last that a date is written for.
const LAST_SECOND: u64 = 253_402_300_799;

/// The column of open cells, which is there where some run has left any.
const OPEN: &str = "open";

/// A folder of results.
struct Run {
    dir: PathBuf,
    manifest: RunManifest,
}

/// List the runs below a folder, newest first.
///
/// # Errors
/// When there are none, or the folder cannot be read.
pub fn list(base: &Path) -> Result<u8, Failure> {
    let mut found = Vec::new();
    find(base, 0, &mut found)?;
    if found.is_empty() {
        let message = format!("no runs: {} holds no results", base.display());
        return Err(Failure::new(exit::NOTHING, message).hint(
            "`harness bench table2 --plugins ./plugins` starts one; `harness list tables` names the benches",
        ));
    }
    found.sort_by(|a, b| {
        let of = |run: &Run| std::cmp::Reverse(run.manifest.started_unix);
        of(a).cmp(&of(b)).then_with(|| a.dir.cmp(&b.dir))
    });
    let head = [
        "run", "bench", "started", "done", "failed", OPEN, "missing", "exit",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(found.iter().map(|run| row(base, run)));
    if found.iter().all(|run| run.manifest.cells.open == 0)
        && let Some(at) = rows[0].iter().position(|name| name == OPEN)
    {
        rows.iter_mut().for_each(|row| {
            row.remove(at);
        });
    }
    output::result(&output::columns(&rows))?;
    output::talk("`harness status --out DIR` says more of one of them");
    Ok(exit::OK)
}

fn row(base: &Path, run: &Run) -> Vec<String> {
    let Run { dir, manifest } = run;
    let cells = &manifest.cells;
    let done = cells.reused + cells.done + cells.elsewhere;
    let (failed, open) = (cells.failed, cells.open);
    let missing = cells.planned.saturating_sub(done + failed + open);
    let name = dir.strip_prefix(base).unwrap_or(dir);
    vec![
        one_line(&name.display().to_string()),
        one_line(&manifest.bench),
        httpdate::fmt_http_date(
            UNIX_EPOCH + Duration::from_secs(manifest.started_unix.min(LAST_SECOND)),
        ),
        done.to_string(),
        failed.to_string(),
        open.to_string(),
        missing.to_string(),
        match manifest.exit_code {
            Some(code) => code.to_string(),
            None => "under way, or killed".to_owned(),
        },
    ]
}

/// Every folder below `dir` with the manifest of a run.
fn find(dir: &Path, depth: u32, found: &mut Vec<Run>) -> Result<(), Failure> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            let message = format!("cannot read {}: {error}", dir.display());
            return Err(Failure::new(exit::BAD_INPUT, message));
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if !path.is_dir() {
            continue;
        }
        let is_run = path.join("run.json").is_file();
        let store = is_run.then(|| Store::open(&path, Access::Read));
        match store
            .and_then(Result::ok)
            .and_then(|store| store.read_manifest())
        {
            Some(manifest) => found.push(Run {
                dir: path,
                manifest,
            }),
            None if is_run => output::warn(&format!(
                "{}: its run.json is damaged or of another version; it is left out",
                path.display()
            )),
            None if depth + 1 < MAX_DEPTH => find(&path, depth + 1, found)?,
            None => {}
        }
    }
    Ok(())
}
