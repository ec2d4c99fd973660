//! `harness train` on text and machines as they are: text that is just enough or too short,
//! requests to stop, logs that nobody watches on a terminal.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::support::{harness, run, signal, start, succeed, words};

/// Text of the generator.
fn text(path: &Path, documents: u32) {
    let n = documents.to_string();
    let command = ["zoo", "text", "--split", "train", "--seed", "8", "--n", &n];
    fs::write(path, succeed(harness().args(command)).stdout).unwrap();
}

/// A run of few or many steps of 64 activations; the last buffer is not a whole one.
fn train(model: &str, data: &Path, out: &Path, tokens: u64) -> Command {
    let tokens = tokens.to_string();
    let mut command = harness();
    command.args(["train", "--model", model, "--plugins", "plugins"]);
    command.args(words("--layers 1 --k 8 --d-sae 64"));
    command.args(["--tokens", &tokens, "--batch", "64", "--buffer", "1000"]);
    command.args(words("--model-batch 8 --context-length 48 --threads 1"));
    command.arg("--data").arg(data).arg("--out").arg(out);
    command
}

/// The weights of the one SAE, and how its training went.
fn made(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let clean = out.join("clean/resid_post_layer_1/trainer_0");
    let folder = match clean.is_dir() {
        true => clean,
        false => out.join("mask/resid_post_layer_1/trainer_0"),
    };
    let mut files: Vec<PathBuf> = (fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.push(out.join("training.csv"));
    let of = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path.strip_prefix(out).unwrap().to_owned(), bytes)
    };
    files.into_iter().map(of).collect()
}

/// The number after a word.
fn number_after(text: &str, word: &str) -> u64 {
    let (_, rest) = text
        .split_once(word)
        .unwrap_or_else(|| panic!("no {word}: {text}"));
    let digits: String = (rest.chars()).take_while(char::is_ascii_digit).collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("{word} {digits}: {text}"))
}

#[test]
fn text_is_counted_first_and_exactly_enough_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("text.jsonl");
    text(&data, 200);
    for (model, policy) in [("qwen", None), ("dream", Some("mask"))] {
        let out = dir.path().join(model);
        let mut command = train(model, &data, &out, 64_000);
        command.args(
            policy
                .map(|policy| ["--policies", policy])
                .into_iter()
                .flatten(),
        );
        let ran = run(&mut command);
        assert_eq!(ran.code, 20, "{}", ran.stderr);
        let shown = policy.unwrap_or("clean");
        for part in [
            "the text ends after".to_owned(),
            format!("of the 64000 activations of {shown}; nothing was trained"),
            "--allow-short".to_owned(),
        ] {
            assert!(ran.stderr.contains(&part), "{part}: {}", ran.stderr);
        }
        // Only masks are other masks the second time.
        assert_eq!(
            policy.is_some(),
            ran.stderr.contains("other masks"),
            "{}",
            ran.stderr
        );
        assert!(!out.join("train.json").exists());
        let most = number_after(&ran.stderr, "--tokens ");
        assert!(most > 640 && most.is_multiple_of(64), "{most}");
        let mut command = train(model, &data, &out, most);
        command.args(
            policy
                .map(|policy| ["--policies", policy])
                .into_iter()
                .flatten(),
        );
        let ran = succeed(&mut command);
        assert!(
            ran.stdout.contains(&format!("policy {shown}")),
            "{}",
            ran.stdout
        );
        assert!(ran.stderr.contains(" tokens/s"), "{}", ran.stderr);
    }
}

#[test]
fn policies_are_asked_of_models_with_masks_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("text.jsonl");
    text(&data, 20);
    let ran = run(&mut train("dream", &data, &dir.path().join("out"), 640));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("--policies"), "{}", ran.stderr);
}

/// Starts a run, asks it to stop with a signal once it has made some steps, and returns what it
/// says at its end.
fn stopped(command: &mut Command, by: &str, out: &Path) -> String {
    let mut child = start(command.args(["--log-every", "1"]));
    let rows = || fs::read_to_string(out.join("training.csv")).map_or(0, |t| t.lines().count());
    let before = rows();
    while rows() < before.max(1) + 40 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(2));
    }
    signal(by, child.id());
    let ended = child.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(75), "{by}: {told}");
    told
}

#[test]
fn a_run_that_is_asked_to_stop_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("text.jsonl");
    text(&data, 2000);
    let (whole, broken) = (dir.path().join("whole"), dir.path().join("broken"));
    // A checkpoint by steps is never due.
    let run_in = |out: &Path| {
        let mut command = train("qwen", &data, out, 64 * 700);
        command.args(["--checkpoint-every", "100000"]);
        command
    };
    succeed(run_in(&whole).args(["--log-every", "1"]));
    for by in ["-INT", "-TERM", "-USR1"] {
        let told = stopped(&mut run_in(&broken), by, &broken);
        for part in [
            "interrupted and kept: clean at step",
            "of 700",
            "goes on from there",
        ] {
            assert!(told.contains(part), "{by}: {told}");
        }
        assert!(number_after(&told, "clean at step ") > 0, "{told}");
    }
    let ran = succeed(run_in(&broken).args(["--log-every", "1"]));
    assert!(ran.stderr.contains("going on from step"), "{}", ran.stderr);
    assert!(made(&whole) == made(&broken), "the files differ");
}

#[test]
fn a_log_is_told_of_the_run_from_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("text.jsonl");
    text(&data, 300);
    let ran = succeed(&mut train("qwen", &data, &dir.path().join("out"), 6400));
    // What is trained on, and then how far it is.
    let mut lines = ran.stderr.lines();
    assert_eq!(
        lines.next(),
        Some("training on text.jsonl, with activations of qwen")
    );
    let first = lines.next().unwrap_or_default();
    assert!(first.starts_with("0:00 "), "{}", ran.stderr);
    assert!(!ran.stderr.contains('\r'), "{}", ran.stderr);
}

#[test]
fn generation_says_how_fast_it_was() {
    let mut command = harness();
    command.args([
        "generate",
        "--model",
        "qwen",
        "--prompt",
        "She said",
        "--plugins",
        "plugins",
    ]);
    let ran = succeed(command.args(words("--max-new-tokens 4 --json")));
    assert!(ran.stderr.contains(" tokens/s"), "{}", ran.stderr);
    assert!(ran.stdout.starts_with('{'), "{}", ran.stdout);
}

#[test]
fn a_run_that_was_begun_keeps_its_steps_where_the_text_is_too_short() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("text.jsonl");
    text(&data, 200);
    let out = dir.path().join("out");
    let again = || train("qwen", &data, &out, 64 * 700);
    stopped(again().arg("--allow-short"), "-INT", &out);
    let ran = run(&mut again());
    assert_eq!(ran.code, 20, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("the steps made so far are kept")
            && !ran.stderr.contains("nothing was trained"),
        "{}",
        ran.stderr
    );
    // A run that has ended needs no text any more.
    succeed(again().arg("--allow-short"));
    let whole = made(&out);
    // Every row begins with a token put in front of it, also where a tokenizer alone puts none.
    let config = fs::read(out.join("clean/resid_post_layer_1/trainer_0/cfg.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["metadata"]["prepend_bos"], true);
    let ran = succeed(&mut again());
    assert!(!ran.stderr.contains("counting the text"), "{}", ran.stderr);
    assert!(made(&out) == whole, "the files differ");
}
