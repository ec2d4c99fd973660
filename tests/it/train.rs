//! `harness train` from outside: what it writes, that a killed run ends as if nothing had happened,
//! and text that is too short.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{harness, run, succeed};

/// Text of the generator: about 45 tokens a document.
fn text(path: &Path, documents: u32) {
    let n = documents.to_string();
    let command = ["zoo", "text", "--split", "train", "--seed", "5", "--n", &n];
    let ran = succeed(harness().args(command));
    fs::write(path, ran.stdout).unwrap();
}

/// Eight SAEs of two policies in 60 steps each.
fn train(data: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = harness();
    command.args(["train", "--model", "dream", "--policies", "mask,unmask"]);
    command.args(["--layers", "1,2", "--k", "4,8", "--d-sae", "96"]);
    command.args(["--tokens", "7680", "--batch", "128", "--buffer", "2000"]);
    command.args([
        "--model-batch",
        "8",
        "--context-length",
        "64",
        "--lr",
        "4e-3",
    ]);
    command.args([
        "--dead-after",
        "2000",
        "--checkpoint-every",
        "4",
        "--log-every",
        "5",
    ]);
    command.args(["--threads", "1", "--plugins", "plugins"]);
    command.arg("--data").arg(data).arg("--out").arg(out);
    command.args(more);
    command
}

/// Files of the sets by their path below `out`; the record of time is none of them.
fn set_files(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![out.join("mask"), out.join("unmask")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "runtime.json") {
                let name = path.strip_prefix(out).unwrap().display().to_string();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Whether a checkpoint has been made.
fn has_checkpoint(out: &Path) -> bool {
    fs::read_to_string(out.join("train.json")).is_ok_and(|text| text.contains("\"progress\""))
}

/// Starts a run, kills it and everything it started once it has made a checkpoint, and says whether
/// that was before its end.
fn kill_in_the_middle(command: &mut Command, out: &Path) -> bool {
    let mut child = command
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !has_checkpoint(out) {
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "no checkpoint after two minutes"
        );
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(5));
    }
    let group = format!("-{}", child.id());
    succeed(Command::new("kill").args(["-KILL", "--", &group]));
    child.wait().unwrap();
    set_files(out).len() < 16
}

#[test]
fn a_killed_run_ends_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("text.jsonl");
    text(&data, 1500);
    let (whole, broken) = (dir.path().join("whole"), dir.path().join("broken"));
    succeed(&mut train(&data, &whole, &[]));
    let expected = set_files(&whole);
    assert_eq!(expected.len(), 2 * 2 * 2 * 2, "{:?}", expected.keys());

    assert!(
        kill_in_the_middle(&mut train(&data, &broken, &[]), &broken),
        "killed before its end"
    );
    // It goes on with its rows in files instead of memory, which must change nothing.
    let ran = succeed(&mut train(&data, &broken, &["--buffer-memory", "1K"]));
    assert!(ran.stderr.contains("going on from step"), "{}", ran.stderr);
    assert!(ran.stderr.contains("kept in files"), "{}", ran.stderr);
    let found = set_files(&broken);
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        found.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &expected {
        assert!(*bytes == found[name], "{name} differs");
    }
    let history = |out: &Path| fs::read_to_string(out.join("training.csv")).unwrap();
    assert_eq!(history(&whole), history(&broken));
    assert!(!broken.join(".train").exists(), "no checkpoint is left");

    let runtime = |out: &Path, policy: &str| -> Value {
        let path = out.join(policy).join("runtime.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let resumed: u64 = ["mask", "unmask"]
        .iter()
        .map(|policy| runtime(&broken, policy)["resumed"].as_u64().unwrap())
        .sum();
    assert!(resumed >= 1);
    let time = runtime(&whole, "mask");
    assert_eq!(
        (&time["resumed"], &time["device"]),
        (&0.into(), &"cpu".into())
    );
    assert_eq!(time["saes"].as_array().unwrap().len(), 4);
    assert!(time["model_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_run_is_recorded_as_it_goes_and_inspected_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("text.jsonl"), dir.path().join("out"));
    text(&data, 1500);
    succeed(&mut train(&data, &out, &["--product-dtype", "bf16"]));
    let text = fs::read_to_string(out.join("training.csv")).unwrap();
    let mut rows = text.lines();
    assert_eq!(
        rows.next(),
        Some("policy,layer,k,step,tokens,loss,ev,l0,n_dead")
    );
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split(',').collect()).collect();
    assert_eq!(rows.len(), 8 * 12, "8 SAEs, every fifth of 60 steps");
    assert_eq!(rows[0][..5], ["mask", "1", "4", "5", "640"]);
    let number = |row: &[&str], at: usize| row[at].parse::<f64>().unwrap();
    for last in rows.iter().filter(|row| row[3] == "60") {
        assert!(number(last, 6) > 0.2 && number(last, 5) > 0.0, "{last:?}");
        assert!(number(last, 7) <= number(last, 2), "{last:?}");
    }

    let ran = succeed(
        harness()
            .arg("inspect")
            .arg(&out)
            .args(["--format", "json"]),
    );
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    let sets = found["sets"].as_array().unwrap();
    assert_eq!(
        sets.iter().map(|s| &s["name"]).collect::<Vec<_>>(),
        ["mask", "unmask"]
    );
    let sae = &sets[0]["saes"][1];
    assert_eq!((&sae["layer"], &sae["k"]), (&1.into(), &8.into()));
    assert_eq!((&sae["tokens"], &sae["batch"]), (&7680.into(), &128.into()));
    assert_eq!(
        (&sae["epochs"], &sae["model_batch"]),
        (&1.into(), &8.into())
    );
    assert_eq!(sae["policy"], "mask");
    assert!(sae["seconds"].as_f64().unwrap() > 0.0);
    assert!(sae["ev"].as_f64().unwrap() > 0.2);
    let config = fs::read_to_string(out.join("mask/resid_post_layer_1/trainer_1/cfg.json"));
    assert!(config.unwrap().contains(r#""product_dtype": "bf16""#));
    let table = succeed(harness().arg("inspect").arg(&out)).stdout;
    assert!(table.contains("s of model passes"), "{table}");
}

#[test]
fn text_that_is_too_short_is_an_error_unless_it_may_be_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("text.jsonl"), dir.path().join("out"));
    text(&data, 300);
    let ran = run(&mut train(&data, &out, &[]));
    assert_eq!(ran.code, 20, "{}", ran.stderr);
    for part in [
        "the text ends after",
        "of the 7680 activations of mask",
        "--allow-short",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    // It was said before anything was trained: with leave to read the text again the run begins.
    let ran = succeed(&mut train(&data, &out, &["--allow-short"]));
    assert!(ran.stderr.contains("for the 2nd time"), "{}", ran.stderr);
    let fresh = dir.path().join("fresh");
    succeed(&mut train(&data, &fresh, &["--allow-short"]));
    assert!(set_files(&out) == set_files(&fresh), "the sets differ");
    let config = fs::read_to_string(out.join("mask/resid_post_layer_1/trainer_0/cfg.json"));
    let config: Value = serde_json::from_str(&config.unwrap()).unwrap();
    assert!(config["metadata"]["harness"]["epochs"].as_u64().unwrap() >= 2);
}
