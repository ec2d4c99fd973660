//! Answers, metrics and numbers.

use std::{fs, path::Path, process::Command};

use crate::{
    bench::small,
    cells::{records, table},
    plugins::bench::install_bad,
    support::{harness, result, run, succeed, words},
};

fn bench(name: &str, out: &Path) -> Command {
    let mut command = harness();
    command
        .args([
            "bench",
            name,
            "--plugins",
            "plugins",
            "--threads",
            "1",
            "--out",
        ])
        .arg(out);
    command
}

/// A bench of decoding orders on the embedded model at its smallest, with questions of one's own.
fn questions(dir: &Path, answers: &[&str]) -> Command {
    let rows = answers.iter().enumerate().map(|(i, answer)| {
        serde_json::json!({"question": format!("How many are {i}?"), "answer": answer}).to_string()
    });
    let path = dir.join("questions.jsonl");
    fs::write(&path, rows.collect::<Vec<_>>().join("\n")).unwrap();
    let mut command = bench("decoding-order", &dir.join("out"));
    command
        .arg("--questions")
        .arg(path)
        .args(["--n-questions", &answers.len().to_string()])
        .args(words("--layers 2 --orders entropy --preset question"))
        .args(words("--dlm-steps 2 --max-new-tokens 4"));
    command
}

#[test]
fn a_gold_answer_of_two_numbers_is_refused_by_its_row() {
    let dir = tempfile::tempdir().unwrap();
    for answer in [
        "#### 5 or 6",
        "#### 5 to 6 days",
        "#### 5, 6",
        "#### 2 bags of 9",
    ] {
        let ran = run(&mut questions(dir.path(), &["#### 1 200", answer]));
        assert_eq!(ran.code, 20, "{answer}: {}", ran.stderr);
        assert!(ran.stderr.contains("questions.jsonl:2"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("questions.jsonl:1,"), "{}", ran.stderr);
    }
}

/// Nothing is right, and the interval begins at 0, not beside it.
#[test]
fn an_interval_of_none_right_begins_at_0() {
    let dir = tempfile::tempdir().unwrap();
    succeed(&mut questions(dir.path(), &["#### 123456789"; 3]));
    let rows = table(&dir.path().join("out"), "accuracy.csv");
    assert_eq!(rows.len(), 2, "read strictly and flexibly");
    for row in rows {
        assert_eq!((row["correct"].as_str(), row["lo"].as_str()), ("0", "0"));
    }
}

const USUAL: &str = "concept_improvement,perplexity_reduction,steering_score";

/// A value besides C, P and S is kept by the cell and stands in metrics.csv; C, P and S stay as
/// they are.
#[test]
fn values_of_other_metrics_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    // Enough text for two features with a C that is not 0.
    let few = "--rows qwen --layers 2 --k 8 --n-features 2 --n-prefix 2 --max-new-tokens 16 \
               --budget-tokens 12000";
    let ran = succeed(
        bench("table2", &out)
            .args(words(few))
            .args(["--set", &format!("metrics={USUAL},template")]),
    );
    assert!(
        ran.stdout
            .contains("template (metric template): 1 of 1 values"),
        "{}",
        ran.stdout
    );
    let rows = table(&out, "metrics.csv");
    let by_k = table(&out, "table2_by_k.csv");
    assert_eq!((rows.len(), by_k.len()), (1, 1));
    let row = &rows[0];
    for (column, want) in [
        ("model", "qwen"),
        ("component", "template"),
        ("metric", "template"),
        ("unit", "points"),
        ("direction", "1"),
        ("n", "2"),
        ("status", "ok"),
    ] {
        assert_eq!(row[column], want, "{column}");
    }
    // The template's mean gain of a feature is 100 times its C.
    let number = |text: &str| text.parse::<f64>().unwrap();
    let (gain, c) = (
        number(&row["value"]),
        number(&by_k[0]["concept_improvement"]),
    );
    assert!(c != 0.0 && (gain - 100.0 * c).abs() < 1e-9, "{gain} {c}");
    assert!(ran.stderr.contains("metrics.csv"), "{}", ran.stderr);

    let usual = dir.path().join("usual");
    succeed(bench("table2", &usual).args(words(few)));
    assert_eq!(result(&out, "table2.csv"), result(&usual, "table2.csv"));
    assert!(!usual.join("metrics.csv").exists());
}

/// What a metric needs is compared with what the bench gives before anything runs.
#[test]
fn a_metric_that_needs_another_input_is_refused_with_those_on_offer() {
    let dir = tempfile::tempdir().unwrap();
    install_bad(dir.path(), "good", &["metric"]);
    let out = dir.path().join("out");
    let ran = run(small(&out).arg("--plugins").arg(dir.path()).args([
        "--rows",
        "qwen",
        "--set",
        &format!("metrics={USUAL},good"),
    ]));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    for part in [
        "metric `good`",
        "`ce`",
        "score_before",
        "score_after",
        "ppl_before",
        "ppl_after",
    ] {
        assert!(ran.stderr.contains(part), "{part} is not in {}", ran.stderr);
    }
    let ran = run(small(&out).args(words(
        "--rows qwen --set metrics=concept_improvement,template",
    )));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("`perplexity_reduction`"),
        "{}",
        ran.stderr
    );
    assert!(records(&out).is_empty());
}

/// A metric that fails fails alone: its rows say why, C, P and S are there, and the command ends
/// with 5.
#[test]
fn a_failing_metric_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    install_bad(dir.path(), "wrong_length", &["judge", "metric"]);
    let out = dir.path().join("out");
    let mut command = small(&out);
    command.arg("--plugins").arg(dir.path()).args([
        "--rows",
        "qwen",
        "--set",
        &format!("metrics={USUAL},wrong-length"),
    ]);
    let ran = run(&mut command);
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    let rows = table(&out, "metrics.csv");
    assert_eq!(
        (rows[0]["metric"].as_str(), rows[0]["value"].as_str()),
        ("one", "")
    );
    assert!(rows[0]["status"].starts_with("failed: "), "{rows:?}");
    assert_eq!(table(&out, "table2.csv")[0]["status"], "ok");
}

/// What masks hid is what a Mask-SAE's latents can be explained by.
#[test]
fn latents_of_masked_text_are_explained_by_what_was_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    succeed(bench("autointerp", &out).args(words("--rows dream-mask --layers 2 --k 8 --budget-tokens 12000 --latents 4 --mask-rate 0.3 --positions policy")));
    let latents = table(&out, "latents.csv");
    assert!(latents.len() >= 4);
    for latent in &latents {
        assert!(!latent["explanation"].is_empty(), "{latent:?}");
        assert!(!latent["explanation"].contains("mask"), "{latent:?}");
    }
}

/// One token repeated has no variance that an SAE could explain: no number, a status and a note.
#[test]
fn a_constant_text_has_no_explained_variance() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text.jsonl");
    let row = serde_json::json!({"text": " the".repeat(40)}).to_string();
    fs::write(&text, vec![row; 20].join("\n")).unwrap();
    let out = dir.path().join("out");
    let ran = succeed(
        bench("fidelity", &out)
            .args(words("--rows qwen --layers 2 --k 8 --data"))
            .arg(text)
            .args(words(
                "--context-length 32 --documents truncate --budget-tokens 600",
            )),
    );
    let rows = table(&out, "fidelity.csv");
    let n_ev = rows.iter().filter(|row| row["metric"] == "ev").count();
    assert!(n_ev == 4 && rows.len() > n_ev, "{n_ev} of {}", rows.len());
    for row in &rows {
        let is_ev = row["metric"] == "ev";
        assert_eq!(row["value"].is_empty(), is_ev, "{row:?}");
        assert_eq!(row["status"] == "no_variance", is_ev, "{row:?}");
    }
    assert!(ran.stdout.contains("hardly varies"), "{}", ran.stdout);
}
