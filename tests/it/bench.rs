//! `harness bench` on the embedded models: the same numbers whatever happens on the way.
//!
//! The bench is table2 at its smallest: one layer, one k, two features for each SAE.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::OnceLock,
};

use crate::cells::waits;
use crate::support::{
    cell_files, copy_folder, harness, only_child_of, run, signal, start, succeed, wait_for_cells,
};

pub const SMALL: [&str; 16] = [
    "--layers",
    "2",
    "--k",
    "8",
    "--limit",
    "2",
    "--n-prefix",
    "2",
    "--dlm-steps",
    "4",
    "--max-new-tokens",
    "8",
    "--budget-tokens",
    "2000",
    "--threads",
    "1",
];

pub fn small(out: &Path) -> Command {
    let mut command = harness();
    command
        .args(["bench", "table2", "--plugins", "plugins", "--out"])
        .arg(out)
        .args(SMALL);
    command
}

fn csv(out: &Path) -> String {
    fs::read_to_string(out.join("table2.csv")).unwrap()
}

/// Results of an uninterrupted run, computed once for all tests.
pub fn reference() -> &'static Path {
    static REFERENCE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, out) = REFERENCE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("reference");
        succeed(&mut small(&out));
        (dir, out)
    });
    out
}

/// A copy of the reference's store without its tables.
pub fn copy_of_reference(dir: &Path) -> PathBuf {
    let out = dir.join("copy");
    copy_folder(reference(), &out);
    fs::remove_file(out.join("table2.csv")).unwrap();
    out
}

#[test]
fn table_has_a_row_for_each_set_and_layer() {
    let table = csv(reference());
    assert_eq!(table.lines().count(), 7, "{table}");
    for set in [
        "qwen",
        "dream-unmask",
        "dream-mask",
        "llama",
        "llada-unmask",
        "llada-mask",
    ] {
        assert!(
            table.contains(&format!(",{set},2,")),
            "{set} is not in\n{table}"
        );
    }
    // With two features an offline judge may have found words for none, of a set or two.
    let n_with = |status: &str| table.lines().filter(|row| row.ends_with(status)).count();
    let (n_ok, n_unjudged) = (n_with(",ok"), n_with(",unjudged"));
    assert_eq!(n_ok + n_unjudged, 6, "{table}");
    assert!(n_ok >= 4, "{table}");
}

#[test]
fn a_step_of_every_stage_waits_once() {
    for stage in ["features", "baseline", "steer", "perplexity"] {
        assert_eq!(waits(reference(), stage), Some(1.0), "{stage}");
    }
}

#[test]
fn nothing_is_left_to_do_the_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let out = copy_of_reference(dir.path());
    let again = succeed(&mut small(&out));
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    assert!(again.stdout.contains("paper"), "{}", again.stdout);
    assert_eq!(csv(&out), csv(reference()));
}

#[test]
fn batch_size_and_number_of_workers_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("batched");
    succeed(small(&out).args(["--batch", "3", "--workers", "2"]));
    let (ours, theirs) = (out.join("table2.csv"), reference().join("table2.csv"));
    succeed(
        harness()
            .arg("compare")
            .args([&ours, &theirs])
            .args(["--rtol", "1e-6", "--atol", "1e-6"]),
    );
}

#[test]
fn strength_zero_gives_exactly_zero() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("zero");
    succeed(small(&out).args(["--amp-factor", "0"]));
    let table = csv(&out);
    let header: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    for name in [
        "concept_improvement",
        "perplexity_reduction",
        "steering_score",
    ] {
        let column = header.iter().position(|h| *h == name).unwrap();
        let mut n_zero = 0;
        for row in table.lines().skip(1) {
            let text = row.split(',').nth(column).unwrap();
            if row.ends_with(",unjudged") && name != "perplexity_reduction" {
                assert_eq!(text, "", "{row}");
                continue;
            }
            let value: f64 = text.parse().unwrap();
            assert!(value == 0.0, "{name} is {value} in {row}");
            n_zero += 1;
        }
        assert!(n_zero >= 4, "{name} of {n_zero} rows\n{table}");
    }
}

#[test]
fn killed_runs_end_in_the_same_table() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("killed");
    for cells in [1, 9] {
        let mut child = started(&out);
        wait_for_cells(&out, cells, &mut child);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    succeed(&mut small(&out));
    assert_eq!(csv(&out), csv(reference()));
}

#[test]
fn interrupted_runs_say_how_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("interrupted");
    let mut child = started(&out);
    wait_for_cells(&out, 2, &mut child);
    signal("-TERM", child.id());
    let ended: crate::support::Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 75, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the same command goes on"),
        "{}",
        ended.stderr
    );
    let manifest = fs::read_to_string(out.join("run.json")).unwrap();
    assert!(manifest.contains("\"exit_code\": 75"), "{manifest}");
    succeed(&mut small(&out));
    assert_eq!(csv(&out), csv(reference()));
}

/// A worker that dies takes its cell with it and nothing else; the same command then does that
/// cell.
#[test]
fn death_of_a_worker_costs_one_cell() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("orphaned");
    let mut command = small(&out);
    let mut child = start(command.args(["--workers", "1"]));
    wait_for_cells(&out, 2, &mut child);
    let worker = only_child_of(child.id());
    signal("-KILL", worker);
    let ended: crate::support::Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    assert!(ended.stderr.contains("1 cell failed"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("signal 9 (SIGKILL"),
        "{}",
        ended.stderr
    );
    succeed(&mut small(&out));
    assert_eq!(csv(&out), csv(reference()));
}

#[test]
fn damaged_results_are_put_aside_and_computed_again() {
    let dir = tempfile::tempdir().unwrap();
    let out = copy_of_reference(dir.path());
    let scores = cell_files(&out, "\"score\"");
    fs::write(&scores[0], "garbage").unwrap();
    let edited = fs::read_to_string(&scores[1]).unwrap();
    fs::write(
        &scores[1],
        edited.replacen("\"n_valid\":", "\"n_valid\":1", 1),
    )
    .unwrap();
    let ran = succeed(&mut small(&out));
    assert!(
        ran.stderr.contains("not a whole cell file"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("edited or damaged"), "{}", ran.stderr);
    assert_eq!(fs::read_dir(out.join("quarantine")).unwrap().count(), 2);
    assert_eq!(csv(&out), csv(reference()));

    fs::write(&scores[0], "garbage").unwrap();
    assert_eq!(run(small(&out).arg("--strict")).code, 5);
}

fn started(out: &Path) -> Child {
    start(&mut small(out))
}
