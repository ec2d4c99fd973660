//! Text and budgets: files as people have them, and whose text a model is given.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    bad_inputs::support::table,
    support::{Ran, copy_folder, harness, result, root, run, says, succeed, words},
};

const TOKENS: &str = "600";

fn texts() -> Vec<String> {
    let text = |i: usize| {
        format!(
            "The baker of house {i}, an early riser, took {} \"fresh\" loaves out.",
            i * 7 % 31
        )
    };
    (0..60).map(text).collect()
}

fn jsonl(texts: &[String]) -> String {
    texts
        .iter()
        .map(|text| format!("{}\n", json!({ "text": text })))
        .collect()
}

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// `harness bench fidelity` of one SAE, anew, on a text.
fn fidelity(dir: &Path, data: &Path) -> Command {
    let out = dir.join("out");
    let _ = fs::remove_dir_all(&out);
    let mut command = harness();
    command
        .args(words("bench fidelity --plugins plugins --rows qwen"))
        .args(words("--layers 1 --k 8 --measures none"))
        .args([
            "--budget-tokens",
            TOKENS,
            "--context-length",
            "32",
            "--threads",
            "1",
        ])
        .arg("--data")
        .arg(data)
        .arg("--out")
        .arg(out);
    command
}

fn manifest(dir: &Path) -> Value {
    serde_json::from_str(&result(&dir.join("out"), "run.json")).unwrap()
}

fn ends(command: &mut Command, code: i32, parts: &[&str]) -> Ran {
    let ran = run(command);
    assert_eq!(ran.code, code, "{}\n{}", ran.stdout, ran.stderr);
    says(&ran.stderr, parts);
    ran
}

/// A copy of an embedded model: a model of the user's.
fn own_model(dir: &Path, name: &str) -> PathBuf {
    let copy = dir.join("models/tiny-qwen");
    copy_folder(&root().join("benchmarks/zoo").join(name), &copy);
    copy
}

/// Records in an array, a table, lines with Python's numbers, or a folder give the numbers of
/// jsonl.
#[test]
fn records_give_the_same_numbers_whatever_file_they_are_in() {
    let dir = tempfile::tempdir().unwrap();
    let texts = texts();
    succeed(&mut fidelity(
        dir.path(),
        &write(dir.path(), "a.jsonl", jsonl(&texts)),
    ));
    let sound = table(dir.path());
    let array: Value = texts.iter().map(|text| json!({ "text": text })).collect();
    let quoted = |text: &String| format!("7,\"{}\"\r\n", text.replace('"', "\"\""));
    let csv: String = texts.iter().map(quoted).collect();
    let python = jsonl(&texts).replace("{\"text\"", "{\"loss\": NaN, \"text\"");
    let folder = dir.path().join("folder");
    write(&folder, "README.md", "words");
    write(&folder, "part-0.jsonl", jsonl(&texts[..20]));
    write(&folder, "part-1.jsonl", jsonl(&texts[20..]));
    for file in [
        write(
            dir.path(),
            "b.json",
            serde_json::to_string_pretty(&array).unwrap(),
        ),
        write(dir.path(), "c.csv", format!("id,text\r\n{csv}")),
        write(dir.path(), "d.jsonl", python),
        folder,
    ] {
        let ran = succeed(&mut fidelity(dir.path(), &file));
        assert_eq!(
            table(dir.path()),
            sound,
            "{}\n{}",
            file.display(),
            ran.stderr
        );
        if file.is_dir() {
            says(&ran.stderr, &["its 2 text files", "passed over: README.md"]);
        }
    }
}

/// What is not read is named, with what to do instead; a wrong field with the option that names
/// another.
#[test]
fn what_is_not_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let utf16: Vec<u8> = jsonl(&texts())
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let marked = [&[0xff, 0xfe][..], &utf16].concat();
    let content = jsonl(&texts()).replace("\"text\"", "\"content\"");
    let cases: [(&str, &[u8], &[&str]); 6] = [
        (
            "a.jsonl",
            &marked,
            &["UTF-16 text is not read here", "iconv -f UTF-16"],
        ),
        (
            "b.jsonl",
            &utf16,
            &["UTF-16 text without a byte order mark", "iconv"],
        ),
        (
            "c.arrow",
            b"\xff\xff\xff\xff\x28\x01\0\0",
            &["an Arrow stream", "to_parquet"],
        ),
        (
            "d.jsonl",
            content.as_bytes(),
            &[
                "no field \"text\"; it has [\"content\"]",
                "--set text_field=content",
            ],
        ),
        (
            "e.csv",
            b"id,content\n0,a\n",
            &["CSV: no column \"text\"", "--set text_field="],
        ),
        (
            "f.json",
            b"[{\"text\": \"a\"}, {\"te",
            &["a JSON array", "after record 2", "ends before"],
        ),
    ];
    for (name, bytes, parts) in cases {
        let file = write(dir.path(), name, bytes);
        ends(&mut fidelity(dir.path(), &file), 20, parts);
    }
    let file = dir.path().join("d.jsonl");
    succeed(fidelity(dir.path(), &file).args(["--set", "text_field=content"]));
    let mixed = dir.path().join("mixed");
    write(&mixed, "a.jsonl", jsonl(&texts()));
    write(&mixed, "LICENSE.txt", "words");
    ends(
        &mut fidelity(dir.path(), &mixed),
        20,
        &["files of records (a.jsonl)", "LICENSE.txt"],
    );
}

/// A few long documents are used whole when packed; truncated, the run says how little is kept.
#[test]
fn long_documents_are_used_or_told() {
    let dir = tempfile::tempdir().unwrap();
    let long: Vec<String> = texts().chunks(20).map(|part| part.join(" ")).collect();
    let file = write(dir.path(), "long.jsonl", jsonl(&long));
    let ran = succeed(fidelity(dir.path(), &file).args(["--documents", "pack"]));
    assert!(!ran.stdout.contains("cut off"), "{}", ran.stdout);
    assert_eq!(manifest(dir.path())["cut_texts"], json!([]));

    let parts = [
        "the data end after 96 tokens",
        "context length 32 keeps",
        "cut off",
    ];
    ends(&mut fidelity(dir.path(), &file), 20, &parts);
    let ran = succeed(fidelity(dir.path(), &file).args(["--allow-short"]));
    says(&ran.stdout, &["Context length 32 keeps"]);
    says(&ran.stderr, &["context length 32 keeps"]);
    let cut = &manifest(dir.path())["cut_texts"][0];
    assert!(cut["kept_share"].as_f64().unwrap() < 0.5, "{cut}");
    assert_eq!(cut["files"], manifest(dir.path())["data"]);
}

/// `harness bench table2` of one SAE and few texts, on a model of the user's.
fn steering(dir: &Path, model: &Path) -> Command {
    let out = dir.join("out");
    let _ = fs::remove_dir_all(&out);
    let mut command = harness();
    command
        .args(words(
            "bench table2 --plugins plugins --rows qwen --layers 1",
        ))
        .args(words("--k 8 --limit 2 --n-prefix 2 --max-new-tokens 8"))
        .args(words("--budget-tokens 2000 --threads 1"))
        .arg("--model")
        .arg(format!("qwen={}", model.display()))
        .arg("--out")
        .arg(out);
    command
}

/// A model that is not embedded gets no text, questions, prompts or scorer of the embedded ones
/// unless somebody says so.
#[test]
fn a_model_of_ones_own_needs_its_text_and_its_scorer() {
    let dir = tempfile::tempdir().unwrap();
    let model = own_model(dir.path(), "qwen");
    let text = write(dir.path(), "text.jsonl", jsonl(&texts()));
    let parts = [
        "`qwen` is no embedded model and needs text",
        "--data embedded",
        "needs a model that scores",
        "--scorer gpt2=DIR",
        "--scorer none",
    ];
    ends(&mut steering(dir.path(), &model), 3, &parts);
    assert!(!dir.path().join("out/cells").exists());
    let ran = ends(
        steering(dir.path(), &model).arg("--data").arg(&text),
        3,
        &parts[2..],
    );
    assert!(!ran.stderr.contains("needs text"), "{}", ran.stderr);

    // A dry run assumes a text, and says so; said, everything is named.
    let ran = succeed(steering(dir.path(), &model).arg("--dry-run"));
    says(
        &ran.stdout,
        &[
            "qwen is the checkpoint tiny-qwen",
            "a text that is not given",
            "Scorer: gpt2 is embedded",
            "because it has",
            "--budget-tokens 2000",
        ],
    );
    let scorer = format!(
        "--scorer=mine={}",
        root().join("benchmarks/zoo/gpt2").display()
    );
    let ran =
        succeed(steering(dir.path(), &model).args([&scorer, "--data", "embedded", "--dry-run"]));
    says(
        &ran.stdout,
        &[
            "2000 tokens of the embedded generated text",
            "Scorer: mine is the embedded gpt2",
        ],
    );

    for (bench, row, option, zoo) in [
        ("fidelity", "qwen", "--data", "qwen"),
        ("autointerp", "qwen", "--data", "qwen"),
        (
            "transfer-rollouts",
            "dream-sft/dream-mask",
            "--prompts",
            "dream-sft",
        ),
        (
            "decoding-order",
            "dream-instruct/dream-instruct-mask",
            "--questions",
            "dream-instruct",
        ),
    ] {
        let name = row.split('/').next().unwrap();
        let copy = dir.path().join("models").join(zoo);
        copy_folder(&root().join("benchmarks/zoo").join(zoo), &copy);
        let mut command = harness();
        command
            .args(["bench", bench, "--plugins", "plugins", "--rows", row])
            .arg(format!("--model={name}={}", copy.display()))
            .arg("--out")
            .arg(dir.path().join("none"));
        ends(
            &mut command,
            3,
            &["is no embedded model", &format!("{option} embedded")],
        );
    }
    let mut train = harness();
    train
        .args(words(
            "train --plugins plugins --layers 1 --k 4 --policies clean",
        ))
        .args(words("--d-sae 16 --tokens 512 --model"))
        .arg(&model)
        .arg("--out")
        .arg(dir.path().join("saes"));
    ends(&mut train, 3, &["needs text", "--data embedded"]);
}

/// Without a scorer C is there, P and S are missing, and a status says so.
#[test]
fn without_a_scorer_there_is_no_perplexity() {
    let dir = tempfile::tempdir().unwrap();
    let model = own_model(dir.path(), "qwen");
    let text = write(dir.path(), "text.jsonl", jsonl(&texts()));
    let ran = succeed(
        steering(dir.path(), &model)
            .args(words("--scorer none --data"))
            .arg(&text),
    );
    for said in [&ran.stdout, &ran.stderr] {
        says(
            said,
            &[
                "qwen is the checkpoint tiny-qwen",
                "tokens of text.jsonl",
                "Scorer: none, so that P and S are missing",
            ],
        );
    }
    says(
        &ran.stderr,
        &["Budgets of qwen", "--n-prefix 2", "--profile real"],
    );
    let table = result(&dir.path().join("out"), "table2.csv");
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    let header = rows.headers().unwrap().clone();
    let row = rows.records().next().unwrap().unwrap();
    let value = |name: &str| &row[header.iter().position(|column| column == name).unwrap()];
    assert!(
        value("concept_improvement").parse::<f64>().is_ok(),
        "{table}"
    );
    assert_eq!(
        (value("perplexity_reduction"), value("steering_score")),
        ("", ""),
        "{table}"
    );
    assert_ne!(value("n_judged"), "0", "{table}");
    assert_eq!(value("n_valid"), "0", "{table}");
    assert_eq!(
        (value("starred"), value("status")),
        ("false", "no_scorer"),
        "{table}"
    );
    let manifest = manifest(dir.path());
    assert!(
        manifest["provenance"].to_string().contains("text.jsonl"),
        "{manifest}"
    );
    assert_eq!(manifest["models"][0]["own_name"], "tiny-qwen");
}

/// Labels are asked only of the embedded models' text.
#[test]
fn autointerp_on_ones_own_text_needs_no_labels() {
    let dir = tempfile::tempdir().unwrap();
    let model = own_model(dir.path(), "qwen");
    let text = write(dir.path(), "text.jsonl", jsonl(&texts()));
    let mut command = harness();
    command
        .args(words(
            "bench autointerp --plugins plugins --rows qwen --layers 1",
        ))
        .args(words(
            "--k 8 --latents 2 --budget-tokens 1000 --threads 1 --data",
        ))
        .arg(&text)
        .arg(format!("--model=qwen={}", model.display()))
        .arg("--out")
        .arg(dir.path().join("out"));
    let ran = succeed(&mut command);
    says(&ran.stdout, &["1000 tokens of text.jsonl"]);
    let pages = dir.path().join("pages");
    let mut report = harness();
    report
        .args(["report", "features"])
        .arg(dir.path().join("out"))
        .arg("--out")
        .arg(&pages);
    succeed(&mut report);
    says(
        &fs::read_to_string(pages.join("index.html")).unwrap(),
        &["text.jsonl", "tiny-qwen"],
    );
}

/// `harness status` alone lists the runs below results/runs.
#[test]
fn status_lists_the_runs() {
    let dir = tempfile::tempdir().unwrap();
    let status = || {
        let mut command = harness();
        command.current_dir(dir.path()).arg("status");
        command
    };
    ends(
        &mut status(),
        4,
        &["results/runs holds no results", "harness bench table2"],
    );
    let run = |name: &str, started: u64, code: Option<u8>| {
        let manifest = json!({
            "command": [], "harness": "", "git_revision": null, "torch": "", "bench": "fidelity", "settings": {},
            "device": "cpu", "dtype": "f32", "reproducible": false, "workers": 1, "threads": 1, "plugins": [],
            "models": [], "saes": [], "data": [], "counters": {},
            "cells": {"planned": 9, "reused": 2, "done": 3, "failed": 1, "blocked": 0, "quarantined": 0, "conflicts": 0},
            "started_unix": started, "finished_unix": null, "exit_code": code,
        });
        write(
            dir.path(),
            &format!("results/runs/{name}/run.json"),
            manifest.to_string(),
        );
    };
    run("older", 1_700_000_000, Some(5));
    run("paper/newer", 1_800_000_000, None);
    write(dir.path(), "results/runs/broken/run.json", "{");
    let ran = succeed(&mut status());
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.stdout);
    says(
        lines[1],
        &[
            "paper/newer",
            "fidelity",
            "Fri, 15 Jan 2027 08:00:00 GMT",
            "under way, or killed",
        ],
    );
    let words: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(
        words[words.len() - 4..],
        ["5", "1", "3", "5"],
        "{}",
        ran.stdout
    );
    says(&ran.stderr, &["broken", "left out"]);
}
