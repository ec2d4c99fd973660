//! Rows 8 and 10 to 13: stores that cannot be written, are of another version, or hold damaged
//! files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use harness_store::{Access, Store};

use crate::{
    bench::{copy_of_reference, reference, small},
    support::{Ran, cell_files, harness, run, succeed, write},
};

fn csv(out: &Path) -> String {
    fs::read_to_string(out.join("table2.csv")).unwrap()
}

fn on(out: &Path, command: &str, args: &[&str]) -> Ran {
    run(harness().arg(command).arg("--out").arg(out).args(args))
}

/// Files of a folder by name.
fn names(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = files
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A store that is a file, or lies where nothing can be made: the path and the reason, before any
/// work starts. Code 110. (A file system that cannot be written: `row_09_read_only_store`.)
#[test]
fn row_08_a_store_that_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    write(&file, "mine");
    for out in [
        file.clone(),
        file.join("below"),
        PathBuf::from("/proc/results"),
    ] {
        let ran = run(&mut small(&out));
        assert_eq!(ran.code, 110, "{}", ran.stderr);
        for part in [
            "cannot write results to",
            &out.display().to_string(),
            "os error",
        ] {
            assert!(
                ran.stderr.contains(part),
                "{part} is not in\n{}",
                ran.stderr
            );
        }
        assert!(!ran.stderr.contains("cells"), "{}", ran.stderr);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

/// A store of a newer version: nothing is written to it, code 3; what only reads does so.
#[test]
fn row_10_a_store_of_a_newer_version() {
    let dir = tempfile::tempdir().unwrap();
    let out = copy_of_reference(dir.path());
    fs::write(out.join("store.json"), "{\"schema\":99}\n").unwrap();
    let before = names(&out);
    let cells = cell_files(&out, "").len();
    let ran = run(&mut small(&out));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    for part in ["schema 99", "choose another --out"] {
        assert!(
            ran.stderr.contains(part),
            "{part} is not in\n{}",
            ran.stderr
        );
    }
    let gc = on(&out, "gc", &["--older-than", "0s"]);
    assert_eq!(gc.code, 3, "{}", gc.stderr);
    let merged = run(harness()
        .args(["merge", "--out"])
        .arg(&out)
        .arg(reference()));
    assert_eq!(merged.code, 3, "{}", merged.stderr);
    assert_eq!((names(&out), cell_files(&out, "").len()), (before, cells));
    assert_eq!(
        fs::read_to_string(out.join("store.json")).unwrap(),
        "{\"schema\":99}\n"
    );
    // Reading goes on.
    let status = on(&out, "status", &[]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(status.stdout.contains("score"), "{}", status.stdout);
    let verified = on(&out, "verify", &[]);
    let done = verified.stdout.lines().next().unwrap_or_default();
    let words: Vec<&str> = done.split_whitespace().collect();
    assert_eq!(
        words,
        ["cells", "done", &cells.to_string()],
        "{}",
        verified.stdout
    );
    succeed(small(&out).arg("--dry-run"));
}

/// Damaged cell files: put aside, told, computed again, the same table. Code 0, or 5 with
/// `--strict`.
fn recovers(damage: impl Fn(&Path), said: &str) {
    let dir = tempfile::tempdir().unwrap();
    let out = copy_of_reference(dir.path());
    let cell = cell_files(&out, "\"stage\":\"score\"").remove(0);
    let key = cell.file_stem().unwrap().to_string_lossy().into_owned();
    let whole = fs::read(&cell).unwrap();
    damage(&cell);
    let broken = fs::read(&cell).unwrap();
    let ran = succeed(&mut small(&out));
    assert!(
        ran.stderr.contains(said),
        "{said} is not in\n{}",
        ran.stderr
    );
    let kept = out.join("quarantine").join(format!("{key}.0.json"));
    assert!(
        ran.stderr.contains(&kept.display().to_string()),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read(&kept).unwrap(), broken);
    assert_eq!(csv(&out), csv(reference()));
    let store = Store::open(&out, Access::Read).unwrap();
    let theirs = Store::open(reference(), Access::Read).unwrap();
    let value = |store: &Store| store.output::<serde_json::Value>(&key).unwrap();
    assert_eq!(value(&store), value(&theirs));
    // The same again, strictly.
    fs::write(&cell, &whole).unwrap();
    damage(&cell);
    assert_eq!(run(small(&out).arg("--strict")).code, 5);
    assert_eq!(names(&out.join("quarantine")).len(), 2);
}

/// A cell file that is cut off, or garbage, or empty.
#[test]
fn row_11_a_cell_that_is_no_cell() {
    let half = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    recovers(half, "not a whole cell file");
    recovers(
        |path| fs::write(path, b"\x00\xffgarbage").unwrap(),
        "not a whole cell file",
    );
    recovers(|path| fs::write(path, "").unwrap(), "not a whole cell file");
}

/// A cell file that somebody has edited: its checksum does not match, and it is named; `verify`
/// says so without touching it.
#[test]
fn row_12_a_cell_that_was_edited() {
    let edit = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, text.replacen("\"n_valid\":", "\"n_valid\":1", 1)).unwrap();
    };
    recovers(edit, "edited or damaged");
    let dir = tempfile::tempdir().unwrap();
    let out = copy_of_reference(dir.path());
    let cell = cell_files(&out, "\"stage\":\"score\"").remove(0);
    edit(&cell);
    let verified = on(&out, "verify", &[]);
    assert_eq!(verified.code, 5, "{}", verified.stdout);
    assert!(
        verified.stdout.contains(&cell.display().to_string()),
        "{}",
        verified.stdout
    );
    assert!(cell.is_file() && !out.join("quarantine").exists());
}

/// Temporary files that a killed process has left: no run minds them; `harness gc` removes them
/// once they are a day old.
#[test]
fn row_13_stray_temporary_files() {
    let dir = tempfile::tempdir().unwrap();
    let out = copy_of_reference(dir.path());
    let beside = cell_files(&out, "")[0].parent().unwrap().to_path_buf();
    let [young, old] = ["young", "old"].map(|name| beside.join(format!(".{name}.tmp")));
    for file in [&young, &old] {
        fs::write(file, "half a cell").unwrap();
    }
    succeed(Command::new("touch").args(["-d", "25 hours ago"]).arg(&old));
    let ran = succeed(&mut small(&out));
    assert!(ran.stderr.contains("nothing to do"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    assert_eq!(csv(&out), csv(reference()));
    assert!(young.exists() && old.exists(), "a run removes nothing");
    let gc = on(&out, "gc", &[]);
    assert_eq!(gc.code, 0, "{}", gc.stderr);
    assert!(young.exists() && !old.exists(), "{}", gc.stderr);
    assert_eq!(
        cell_files(&out, "").len(),
        cell_files(reference(), "").len()
    );
}
