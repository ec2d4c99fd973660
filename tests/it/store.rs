//! `harness verify`, `gc` and `merge`, on stores made by hand: no worker is needed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use harness_contract::{
    cell::Cell,
    protocol::{Failure, FailureKind},
    stages::ScoreParams,
};
use harness_store::{Access, Provenance, Store};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::{Ran, cell_files, harness, run, shown};

fn cell(i: u32) -> Cell {
    Cell::new(
        ScoreParams {
            resamples: i,
            ..ScoreParams::default()
        },
        vec![],
    )
    .unwrap()
}

/// A store with these cells done, by number and value.
fn store(dir: &Path, cells: &[(u32, f64)]) -> Store {
    let store = Store::open(dir, Access::Write).unwrap();
    for (i, value) in cells {
        store
            .put_done(&cell(*i), &json!({ "value": value }), Provenance::default())
            .unwrap();
    }
    store
}

fn put_failed(store: &Store, i: u32) {
    let failure = Failure::new(FailureKind::Plugin, "it panicked");
    store
        .put_failed(&cell(i), failure, Provenance::default())
        .unwrap();
}

/// A command on a store, with more arguments.
fn on(out: &Path, command: &str, args: &[&str]) -> Ran {
    run(harness().arg(command).arg("--out").arg(out).args(args))
}

fn merge(out: &Path, sources: &[&Path]) -> Ran {
    run(harness().args(["merge", "--out"]).arg(out).args(sources))
}

/// Cell files by name, with their content.
fn cells(out: &Path) -> Vec<(PathBuf, String)> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(out).unwrap().to_path_buf(), text)
    };
    cell_files(out, "").into_iter().map(read).collect()
}

#[test]
fn verify_says_what_is_wrong_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let store = store(&out, &[(1, 0.1), (2, 0.2)]);
    let whole = on(&out, "verify", &["--strict"]);
    assert_eq!(
        (whole.code, whole.stderr.as_str()),
        (0, ""),
        "{}",
        whole.stdout
    );
    // A failed cell costs no result: a note.
    put_failed(&store, 3);
    assert_eq!(on(&out, "verify", &[]).code, 0);
    assert_eq!(on(&out, "verify", &["--strict"]).code, 5);
    let path = store.cell_path(&cell(2).key);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let said = on(&out, "verify", &[]);
    assert_eq!(said.code, 5, "{}", said.stdout);
    for part in [
        format!("finding: {}", path.display()),
        "moves it to quarantine/ and computes it again".to_owned(),
        format!("note: {}", store.cell_path(&cell(3).key).display()),
        "it panicked".to_owned(),
    ] {
        assert!(
            said.stdout.contains(&part),
            "{part} is not in\n{}",
            said.stdout
        );
    }
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(!out.join("quarantine").exists());
    let said = on(&out, "verify", &["--format", "json"]);
    let found: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(
        (said.code, &found["n_findings"], &found["n_notes"]),
        (5, &json!(1), &json!(1))
    );
    assert_eq!((&found["done"], &found["damaged"]), (&json!(1), &json!(1)));
    assert_eq!(found["findings"][0]["path"], path.display().to_string());
}

#[test]
fn a_folder_without_results_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".mine.tmp"), "x").unwrap();
    for command in ["verify", "gc"] {
        let said = on(dir.path(), command, &[]);
        assert_eq!(said.code, 4, "{}", said.stderr);
        assert!(said.stderr.contains("holds no results"), "{}", said.stderr);
    }
    let gone = on(&dir.path().join("none"), "gc", &[]);
    assert_eq!(gone.code, 20, "{}", gone.stderr);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn gc_frees_what_is_named_and_leaves_results() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path();
    let store = store(out, &[(1, 0.1), (1, 0.9), (2, 0.2)]);
    put_failed(&store, 3);
    fs::create_dir(out.join("quarantine")).unwrap();
    fs::write(out.join("quarantine/old.0.json"), "half").unwrap();
    let stray = store.cell_path(&cell(1).key).with_file_name(".stray.tmp");
    fs::write(&stray, "half").unwrap();
    let all = [
        "--older-than",
        "0s",
        "--quarantine",
        "--conflicts",
        "--failed",
    ];
    let before = cells(out);
    let said = on(out, "gc", &[&all[..], &["--dry-run"]].concat());
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(
        said.stderr.matches("would remove").count(),
        4,
        "{}",
        said.stderr
    );
    // Young temporary files may be of a process that is writing, and nothing else goes unasked.
    assert_eq!(on(out, "gc", &[]).code, 0);
    assert!(stray.is_file() && out.join("quarantine/old.0.json").is_file());
    assert_eq!(cells(out), before);
    let said = on(out, "gc", &all);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let last = said.stdout.lines().last().unwrap();
    let words: Vec<&str> = last.split_whitespace().collect();
    assert_eq!(words[..2], ["removed", "4"], "{}", said.stdout);
    assert!(!stray.exists());
    assert_eq!(store.keys().unwrap().len(), 2);
    assert_eq!(on(out, "verify", &["--strict"]).code, 0);
    assert_eq!(on(out, "gc", &["--older-than", "soon"]).code, 2);
}

#[test]
fn halves_of_a_store_merge_into_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, left, right, all] = ["whole", "left", "right", "all"].map(|n| dir.path().join(n));
    let values: Vec<(u32, f64)> = (0..20).map(|i| (i, f64::from(i) / 7.0)).collect();
    store(&whole, &values);
    // Five cells are in both.
    put_failed(&store(&left, &values[..12]), 15);
    store(&right, &values[7..]);
    let said = merge(&all, &[&left, &right]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("makes the CSV"), "{}", said.stderr);
    assert_eq!(cells(&all), cells(&whole));
    // Again, and in the other order, it changes nothing.
    let again = merge(&all, &[&right, &left]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(cells(&all), cells(&whole));
    assert_eq!(on(&all, "verify", &["--strict"]).code, 0);
}

#[test]
fn merge_keeps_the_first_of_two_values_and_leaves_damage() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second, damaged] = ["first", "second", "damaged"].map(|n| dir.path().join(n));
    store(&first, &[(1, 0.1)]);
    store(&second, &[(1, 0.2), (2, 0.2)]);
    let before = cells(&first);
    for _ in 0..2 {
        let said = merge(&first, &[&second]);
        assert_eq!(said.code, 5, "{}", said.stderr);
        assert!(
            said.stderr.contains("differs from the first"),
            "{}",
            said.stderr
        );
        assert_eq!(fs::read_dir(first.join("conflicts")).unwrap().count(), 1);
    }
    let after = cells(&first);
    assert!(after.contains(&before[0]) && after.len() == 2);
    assert_eq!(on(&first, "verify", &[]).code, 5);
    let path = store(&damaged, &[(3, 0.3)]).cell_path(&cell(3).key);
    fs::write(&path, "half").unwrap();
    let said = merge(&second, &[&damaged]);
    assert_eq!(said.code, 5, "{}", said.stderr);
    assert!(said.stderr.contains("not copied"), "{}", said.stderr);
    assert!(path.is_file() && cells(&second).len() == 2);
}

#[test]
fn merge_refuses_itself_and_folders_without_results() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    store(&out, &[(1, 0.1)]);
    let mut command = harness();
    command
        .args(["merge", "--out"])
        .arg(&out)
        .arg(out.join("../out"));
    assert_snapshot!(shown(&mut command, dir.path()), @r###"
    exit code: 2
    ----- stderr -----
    error: [TMP]/out/../out cannot be merged into itself
    hint: name other folders after --out
    "###);
    let (empty, new) = (dir.path().join("empty"), dir.path().join("new"));
    fs::create_dir(&empty).unwrap();
    assert_eq!(merge(&new, &[&out, &empty]).code, 4);
    assert_eq!(merge(&new, &[&out, &dir.path().join("none")]).code, 20);
    assert!(
        !new.exists(),
        "nothing is begun before all sources are looked at"
    );
}

fn put_open(store: &Store, i: u32) {
    let failure = Failure::new(FailureKind::JudgeUnanswered, "1 question is open");
    store
        .put_open(&cell(i), json!(0.5), failure, Provenance::default())
        .unwrap();
}

/// Open cells are neither done nor failed nor missing, and none is lost.
#[test]
fn open_cells_are_counted_apart_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("results/runs");
    let [out, all] = ["bench", "all"].map(|name| runs.join(name));
    let first = store(&out, &[(1, 0.1)]);
    put_failed(&first, 2);
    put_open(&first, 3);
    let status = on(&out, "status", &[]);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = status.stdout.lines().map(words).collect();
    assert_eq!(rows[0], ["stage", "done", "failed", "open", "damaged"]);
    assert_eq!(rows[1], ["score", "1", "1", "1", "0"]);
    let verified: Value =
        serde_json::from_str(&on(&out, "verify", &["--format", "json"]).stdout).unwrap();
    assert_eq!(
        (&verified["done"], &verified["failed"], &verified["open"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(on(&out, "gc", &["--failed"]).code, 0);
    assert_eq!(merge(&all, &[&out]).code, 0);
    assert_eq!(cells(&all), cells(&out));
    assert_eq!(cells(&all).len(), 2);

    let manifest = json!({
        "command": [], "harness": "", "git_revision": null, "torch": "", "bench": "table2", "settings": {},
        "device": "cpu", "dtype": "f32", "reproducible": false, "workers": 1, "threads": 1, "plugins": [],
        "models": [], "saes": [], "data": [], "counters": {},
        "cells": {"planned": 9, "reused": 2, "done": 3, "failed": 1, "open": 2, "blocked": 0, "quarantined": 0, "conflicts": 0},
        "started_unix": 0, "finished_unix": null, "exit_code": 5,
    });
    fs::write(out.join("run.json"), manifest.to_string()).unwrap();
    let list = run(harness().current_dir(dir.path()).arg("status"));
    let rows: Vec<Vec<String>> = list.stdout.lines().map(words).collect();
    let head = ["done", "failed", "open", "missing", "exit"];
    assert!(rows[0].ends_with(&head.map(str::to_owned)), "{rows:?}");
    let counts = ["5", "1", "2", "1", "5"];
    assert!(rows[1].ends_with(&counts.map(str::to_owned)), "{rows:?}");
}
