//! Everything that can be wrong with a store, made by hand, and stores merged into one.

use std::{fs, ops::ControlFlow, path::Path};

use serde_json::json;

use super::{Access, CellRecord, Merged, Provenance, Put, Store, Verified};
use crate::replies::{KeptReply, REPLY_SCHEMA, Replies, ReplyMessage, ReplyRequest};
use harness_contract::{
    cell::Cell,
    protocol::{Failure, FailureKind},
    stages::ScoreParams,
};

fn cell(i: u32, inputs: &[&Cell]) -> Cell {
    let inputs = inputs.iter().map(|cell| cell.key.clone()).collect();
    Cell::new(
        ScoreParams {
            resamples: i,
            ..ScoreParams::default()
        },
        inputs,
    )
    .unwrap()
}

fn put(store: &Store, cell: &Cell, value: f64) -> Put {
    store
        .put_done(cell, &json!({ "value": value }), Provenance::default())
        .unwrap()
}

fn put_failed(store: &Store, cell: &Cell) {
    let failure = Failure::new(FailureKind::Plugin, "it panicked\nat line 3");
    store
        .put_failed(cell, failure, Provenance::default())
        .unwrap();
}

fn reply(words: &str, text: &str) -> (String, KeptReply) {
    let request = ReplyRequest {
        judge: "j".into(),
        task: "explain".into(),
        messages: vec![ReplyMessage {
            role: "user".into(),
            content: words.into(),
        }],
        max_tokens: 8,
        temperature: 0.0,
    };
    let reply = KeptReply {
        schema: REPLY_SCHEMA,
        request,
        text: text.into(),
        tokens_in: 7,
        tokens_out: 3,
        usd: None,
        comparable_with_paper: true,
        received_unix: 5,
    };
    (reply.request.key().unwrap(), reply)
}

fn replies(store: &Store) -> Replies {
    Replies::new(&store.dir().join("replies"))
}

fn keep(store: &Store, words: &str, text: &str) -> String {
    let (key, reply) = reply(words, text);
    replies(store).put(&key, &reply).unwrap();
    key
}

/// A store of two cells, one made from the other, and a reply.
fn whole(dir: &Path) -> (Store, Cell, Cell) {
    let store = Store::open(dir, Access::Write).unwrap();
    let one = cell(1, &[]);
    let two = cell(2, &[&one]);
    put(&store, &one, 0.1);
    put(&store, &two, 0.2);
    keep(&store, "a", "{}");
    (store, one, two)
}

fn verify(store: &Store) -> Verified {
    let read_only = Store::open(store.dir(), Access::Read).unwrap();
    read_only.verify(&mut |_, _| {}).unwrap()
}

/// Names of the findings, those that cost a result before `|`.
fn found(store: &Store) -> String {
    let verified = verify(store);
    let names = |is_harmless: bool| {
        let of = verified.findings.iter();
        let of = of.filter(|finding| finding.problem.is_harmless() == is_harmless);
        of.map(|finding| finding.problem.name())
            .collect::<Vec<_>>()
            .join(" ")
    };
    format!("{}|{}", names(false), names(true))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_whole_store_has_no_findings() {
    let dir = tempfile::tempdir().unwrap();
    let (store, ..) = whole(dir.path());
    for name in ["table2.csv", "fig9.svg", "pages/index.html"] {
        write(&dir.path().join(name), b"x");
    }
    let mut calls = Vec::new();
    let verified = store
        .verify(&mut |done, total| calls.push((done, total)))
        .unwrap();
    assert_eq!(calls, [(0, 3), (1, 3), (2, 3), (3, 3)]);
    assert_eq!(verified.findings, []);
    assert_eq!(
        (verified.done, verified.replies, verified.n_faults()),
        (2, 1, 0)
    );
    let files = [store.cell_path(&cell(1, &[]).key)];
    assert!(verified.bytes > fs::metadata(&files[0]).unwrap().len());
}

/// The record of a cell of a stage of another version.
fn of_a_foreign_stage(store: &Store, like: &Cell) -> CellRecord {
    let mut record = match store.lookup(&like.key).unwrap() {
        super::Lookup::Done(record) => *record,
        other => panic!("{other:?}"),
    };
    record.stage = "oracle".to_owned();
    record.params = json!({"temple": "delphi"});
    record.key = harness_contract::canonical::hash_of(&json!({
        "stage": record.stage, "version": record.version, "params": record.params, "inputs": [],
    }))
    .unwrap();
    record
}

/// One change to a whole store.
type Change = fn(&Store, &Cell, &Cell);

#[test]
fn everything_that_can_be_wrong_is_found() {
    let cases: [(&str, Change); 25] = [
        ("cell-unreadable|", |store, _, two| {
            let path = store.cell_path(&two.key);
            let bytes = fs::read(&path).unwrap();
            write(&path, &bytes[..bytes.len() / 2]);
        }),
        ("cell-unreadable|", |store, _, two| {
            write(&store.cell_path(&two.key), b"")
        }),
        ("cell-checksum|", |store, _, two| {
            let path = store.cell_path(&two.key);
            let text = fs::read_to_string(&path).unwrap();
            write(&path, text.replace("0.2", "0.3").as_bytes());
        }),
        ("cell-newer|", |store, _, two| {
            let path = store.cell_path(&two.key);
            let text = fs::read_to_string(&path).unwrap();
            write(
                &path,
                text.replace("\"schema\":1", "\"schema\":9").as_bytes(),
            );
        }),
        // The file of one cell under the name of another.
        ("cell-key|", |store, _, two| {
            let other = cell(3, &[]);
            let bytes = fs::read(store.cell_path(&two.key)).unwrap();
            write(&store.cell_path(&other.key), &bytes);
        }),
        ("input|", |store, one, _| {
            fs::remove_file(store.cell_path(&one.key)).unwrap()
        }),
        ("input|failed", |store, one, _| {
            fs::remove_file(store.cell_path(&one.key)).unwrap();
            put_failed(store, one);
        }),
        ("|failed", |store, _, _| put_failed(store, &cell(3, &[]))),
        // A damaged input is named itself, and once.
        ("cell-unreadable|", |store, one, _| {
            write(&store.cell_path(&one.key), b"{")
        }),
        ("|other-version", |store, _, _| {
            let mut record = match store.lookup(&cell(1, &[]).key).unwrap() {
                super::Lookup::Done(record) => *record,
                other => panic!("{other:?}"),
            };
            record.version = 999;
            record.key = harness_contract::canonical::hash_of(&json!({
                "stage": record.stage, "version": 999, "params": record.params, "inputs": [],
            }))
            .unwrap();
            write(&store.cell_path(&record.key), &record.to_bytes().unwrap());
        }),
        // A stage that this version does not have, with parameters it cannot know.
        ("|other-version", |store, one, _| {
            let record = of_a_foreign_stage(store, one);
            write(&store.cell_path(&record.key), &record.to_bytes().unwrap());
        }),
        ("misplaced|", |store, _, _| {
            write(&store.dir().join("cells/ab/notes.txt"), b"x")
        }),
        ("misplaced|", |store, _, _| {
            write(&store.dir().join("cells/notes.txt"), b"x")
        }),
        // A cell in another folder than its own is never read.
        ("misplaced|", |store, one, _| {
            let name = format!("cells/zz/{}.json", one.key);
            fs::copy(store.cell_path(&one.key), {
                fs::create_dir_all(store.dir().join("cells/zz")).unwrap();
                store.dir().join(name)
            })
            .unwrap();
        }),
        ("|temporary", |store, _, _| {
            write(&store.dir().join("cells/ab/.x.tmp"), b"x")
        }),
        ("|temporary", |store, _, _| {
            write(&store.dir().join(".x.tmp"), b"x")
        }),
        ("|unknown", |store, _, _| {
            write(&store.dir().join("notes.txt"), b"x")
        }),
        ("conflict|", |store, one, _| drop(put(store, one, 0.7))),
        ("|quarantined", |store, one, _| {
            write(&store.cell_path(&one.key), b"{");
            store.lookup(&one.key).unwrap();
            put(store, one, 0.1);
        }),
        ("newer|", |store, _, _| {
            write(&store.dir().join("store.json"), br#"{"schema":9}"#)
        }),
        ("|no-schema", |store, _, _| {
            write(&store.dir().join("store.json"), b"{")
        }),
        ("|manifest", |store, _, _| {
            write(&store.dir().join("run.json"), b"{")
        }),
        ("reply-checksum|", |store, _, _| {
            let path = replies(store).path(&reply("a", "").0);
            let text = fs::read_to_string(&path).unwrap();
            write(
                &path,
                text.replace("\"tokens_in\":7", "\"tokens_in\":8")
                    .as_bytes(),
            );
        }),
        ("reply-key|", |store, _, _| {
            let bytes = reply("c", "{}").1.to_bytes().unwrap();
            write(&replies(store).path(&reply("b", "").0), &bytes);
        }),
        ("money|", |store, _, _| {
            write(&store.dir().join("replies/ledger.json"), b"{")
        }),
    ];
    for (i, (expected, change)) in cases.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let (store, one, two) = whole(dir.path());
        change(&store, &one, &two);
        assert_eq!(found(&store), *expected, "case {i}");
        // Looking has changed nothing.
        assert_eq!(found(&store), *expected, "case {i}, again");
    }
}

fn merge(to: &Store, from: &Store) -> Merged {
    let from = Store::open(from.dir(), Access::Read).unwrap();
    to.merge(&from, &mut |_, _| ControlFlow::Continue(()))
        .unwrap()
}

#[test]
fn two_halves_make_the_whole_and_again_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, ..) = whole(&dir.path().join("whole"));
    keep(&whole, "b", "[]");
    let [left, right, all] = ["left", "right", "all"]
        .map(|name| Store::open(&dir.path().join(name), Access::Write).unwrap());
    let one = cell(1, &[]);
    put(&left, &one, 0.1);
    put_failed(&left, &cell(2, &[&one]));
    put(&right, &one, 0.1);
    put(&right, &cell(2, &[&one]), 0.2);
    keep(&left, "a", "{}");
    keep(&right, "a", "{}");
    keep(&right, "b", "[]");
    let first = merge(&all, &left);
    assert_eq!((first.copied, first.failed, first.replies), (1, 1, 1));
    let second = merge(&all, &right);
    assert_eq!((second.copied, second.same), (1, 1));
    assert_eq!((second.replies, second.same_replies), (1, 1));
    assert_eq!(all.keys().unwrap(), whole.keys().unwrap());
    for key in whole.keys().unwrap() {
        assert_eq!(
            fs::read(all.cell_path(&key)).unwrap(),
            fs::read(whole.cell_path(&key)).unwrap()
        );
    }
    let again = merge(&all, &right);
    let nothing = Merged {
        same: 2,
        same_replies: 2,
        ..Merged::default()
    };
    assert_eq!(again, nothing);
    assert_eq!(found(&all), "|");
}

#[test]
fn results_take_the_place_of_failures_and_damage_alone() {
    let dir = tempfile::tempdir().unwrap();
    let [to, from] =
        ["to", "from"].map(|name| Store::open(&dir.path().join(name), Access::Write).unwrap());
    for i in 1..=4 {
        put(&from, &cell(i, &[]), f64::from(i));
    }
    write(&from.cell_path(&cell(4, &[]).key), b"half");
    put_failed(&to, &cell(1, &[]));
    write(&to.cell_path(&cell(2, &[]).key), b"half");
    put(&to, &cell(3, &[]), 0.5);
    put(&to, &cell(4, &[]), 4.0);
    let merged = merge(&to, &from);
    assert_eq!((merged.copied, merged.same), (2, 0));
    assert_eq!((merged.conflicts.len(), merged.damaged.len()), (1, 1));
    // The same conflict is kept once, and what is damaged stays where it is.
    assert_eq!(merge(&to, &from).conflicts, merged.conflicts);
    assert!(merged.conflicts[0].starts_with(to.dir()) && merged.damaged[0].0.is_file());
    for (i, value) in [(1, 1.0), (2, 2.0), (3, 0.5), (4, 4.0)] {
        let output: serde_json::Value = to.output(&cell(i, &[]).key).unwrap();
        assert_eq!(output, json!({ "value": value }));
    }
    assert_eq!(found(&to), "conflict|quarantined");
}

#[test]
fn open_cells_are_carried_where_there_is_no_value() {
    let dir = tempfile::tempdir().unwrap();
    let [to, from] =
        ["to", "from"].map(|name| Store::open(&dir.path().join(name), Access::Write).unwrap());
    let put_open = |store: &Store, i: u32, value: f64| {
        let failure = Failure::new(FailureKind::JudgeUnanswered, "1 question is open");
        let output = json!({ "value": value });
        let cell = cell(i, &[]);
        (store.put_open(&cell, output, failure, Provenance::default())).unwrap();
    };
    for i in 1..=4 {
        put_open(&from, i, 0.5);
    }
    put(&to, &cell(1, &[]), 1.0);
    put_failed(&to, &cell(2, &[]));
    put_open(&to, 3, 3.0);
    let merged = merge(&to, &from);
    assert_eq!((merged.open, merged.copied, merged.failed), (4, 0, 0));
    for (i, value) in [(1, 1.0), (2, 0.5), (3, 3.0), (4, 0.5)] {
        let there = to.available::<serde_json::Value>(&cell(i, &[]).key);
        let there = there.unwrap().unwrap();
        assert_eq!(
            (there.output, there.is_whole),
            (json!({ "value": value }), i == 1)
        );
    }
    let verified = verify(&to);
    assert_eq!((verified.done, verified.open, verified.failed), (1, 3, 0));
    assert_eq!(found(&to), "|open open open");
    // A result takes the place of an open cell.
    put(&from, &cell(4, &[]), 4.0);
    assert_eq!(merge(&to, &from).copied, 1);
}

#[test]
fn the_first_reply_stays_and_the_second_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let [to, from] =
        ["to", "from"].map(|name| Store::open(&dir.path().join(name), Access::Write).unwrap());
    let key = keep(&to, "a", "first");
    keep(&from, "a", "second");
    let damaged = keep(&from, "b", "{}");
    write(&replies(&from).path(&damaged), b"{");
    let merged = merge(&to, &from);
    assert_eq!(
        (merged.conflicts.len(), merged.damaged_replies.len()),
        (1, 1)
    );
    assert_eq!(merge(&to, &from).conflicts, merged.conflicts);
    assert_eq!(replies(&to).get(&key).unwrap().unwrap().text, "first");
    assert_eq!(replies(&to).get(&damaged).unwrap(), None);
    assert_eq!(found(&to), "reply-conflict|");
}

#[test]
fn a_merge_that_was_stopped_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (from, ..) = whole(&dir.path().join("from"));
    let to = Store::open(&dir.path().join("to"), Access::Write).unwrap();
    let stopped = to.merge(&from, &mut |done, _| match done {
        0 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    });
    let stopped = stopped.unwrap();
    assert!(stopped.is_stopped && stopped.copied == 1, "{stopped:?}");
    let rest = merge(&to, &from);
    assert_eq!((rest.copied, rest.same, rest.replies), (1, 1, 1));
}

#[test]
fn a_cell_of_another_version_is_merged_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (from, one, _) = whole(&dir.path().join("from"));
    let foreign = of_a_foreign_stage(&from, &one);
    let path = from.cell_path(&foreign.key);
    write(&path, &foreign.to_bytes().unwrap());
    let to = Store::open(&dir.path().join("to"), Access::Write).unwrap();
    assert_eq!(merge(&to, &from).copied, 3);
    let found = to.lookup(&foreign.key).unwrap();
    assert!(matches!(found, super::Lookup::Done(record) if *record == foreign));
}
