//! The autointerp bench on the embedded models: one pass for all SAEs, planted topics found, and
//! what a second command does.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use harness_core::stats::{Moments, student_interval};
use serde_json::Value;

use crate::cells::{manifest, records, table};
use crate::support::{harness, result, root, run, succeed};

/// At its smallest: two layers, one k, some thousand tokens.
const SMALL: [&str; 12] = [
    "--rows",
    "dream-mask",
    "--layers",
    "2,5",
    "--k",
    "8",
    "--budget-tokens",
    "12000",
    "--latents",
    "4",
    "--threads",
    "1",
];

fn bench(out: &Path) -> Command {
    let mut command = harness();
    command
        .args(["bench", "autointerp", "--plugins", "plugins", "--out"])
        .arg(out);
    command
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column]
        .parse()
        .unwrap_or_else(|_| panic!("{column} of {row:?}"))
}

/// Finished cells of a stage.
fn cells(out: &Path, stage: &str) -> Vec<Value> {
    let mut cells = records(out);
    cells.retain(|cell| cell["stage"] == stage);
    cells
}

/// A set of SAEs like `dream-mask` with these active budgets at every layer.
fn with_budgets(dir: &Path, ks: &[u32]) -> PathBuf {
    let set = dir.join("dream-mask");
    let own = root().join("benchmarks/zoo/saes/dream-mask");
    for layer in fs::read_dir(&own).unwrap() {
        let layer = layer.unwrap();
        for (i, k) in ks.iter().enumerate() {
            let from = layer.path().join("trainer_0");
            let to = set.join(layer.file_name()).join(format!("trainer_{i}"));
            fs::create_dir_all(&to).unwrap();
            fs::copy(
                from.join("sae_weights.safetensors"),
                to.join("sae_weights.safetensors"),
            )
            .unwrap();
            let text = fs::read_to_string(from.join("cfg.json")).unwrap();
            let mut config: Value = serde_json::from_str(&text).unwrap();
            config["k"] = (*k).into();
            fs::write(to.join("cfg.json"), config.to_string()).unwrap();
        }
    }
    set
}

/// In each set the latents that go best with the twelve topics of the text, chosen by where they
/// fire and without a judge, are explained better than by chance: the 95 % interval of their mean
/// score is above 0.5, and the report says so.
#[test]
fn planted_topics_are_explained_better_than_by_chance() {
    let dir = tempfile::tempdir().unwrap();
    let ran = succeed(bench(dir.path()).args(["--threads", "1"]));
    assert!(ran.stdout.contains("labels of the text"), "{}", ran.stdout);
    let mut best: BTreeMap<(String, String), BTreeMap<String, (f64, String)>> = BTreeMap::new();
    for row in table(dir.path(), "autointerp_labels.csv") {
        let set = best
            .entry((row["model"].clone(), row["sae"].clone()))
            .or_default();
        // Latents that no SAE has a better one than must have a score; a worse one may have none.
        let found = (number(&row, "f1"), row["autointerp_score"].clone());
        let known = (set.entry(row["label"].clone())).or_insert_with(|| found.clone());
        if found.0 > known.0 {
            *known = found;
        }
    }
    assert_eq!(best.len(), 6);
    for ((model, sae), topics) in best {
        assert_eq!(topics.len(), 12, "{model} {sae}");
        let scores: Vec<f64> = topics
            .values()
            .map(|(_, score)| score.parse().unwrap())
            .collect();
        let moments = Moments::of(&scores);
        let interval = student_interval(&moments, 0.95).unwrap();
        let mean = moments.mean().unwrap();
        eprintln!(
            "{model} {sae}: {mean:.3} [{:.3}, {:.3}]",
            interval.low, interval.high
        );
        assert!(
            interval.low > 0.5,
            "{model} {sae}: the interval holds chance"
        );
        assert!(
            ran.stdout.contains(&format!("{mean:.3}")),
            "the report has {mean}"
        );
    }
    let rows = table(dir.path(), "autointerp.csv");
    assert_eq!(rows.len(), 72);
    for row in &rows {
        assert_eq!(row["status"], "ok");
        assert_eq!(row["judge"], "lexical-1");
        let counts = ["n_latents", "n_unparsed", "n_refused", "n_failed"];
        let sum: f64 = counts.iter().map(|column| number(row, column)).sum();
        assert_eq!(
            sum,
            number(row, "n_asked"),
            "every asked latent is counted: {row:?}"
        );
    }
}

#[test]
fn one_pass_serves_36_saes() {
    let dir = tempfile::tempdir().unwrap();
    let set = with_budgets(dir.path(), &[4, 8, 12, 16, 24, 32]);
    let saes = format!("dream-mask={}", set.display());
    let pass = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let common = ["--rows", "dream-mask", "--saes", &saes, "--latents", "2"];
        let budget = ["--budget-tokens", "4000", "--threads", "1"];
        succeed(bench(&out).args(common).args(budget).args(more));
        manifest(&out)["activations"].clone()
    };
    let all = pass("all", &["--k", "4,8,12,16,24,32"]);
    let one = pass("one", &["--k", "8", "--layers", "7"]);
    assert_eq!((&all["saes"], &one["saes"]), (&36.into(), &1.into()));
    // As many batches through as many blocks as for one SAE of the last layer.
    for what in ["batches", "block_passes_per_batch"] {
        assert_eq!(all[what], one[what], "{what}");
    }
    assert_eq!(all["block_passes_per_batch"], 8.0);
    let rows = |pass: &Value| pass["sae_rows"].as_u64().unwrap();
    assert_eq!(rows(&all), 36 * rows(&one));
}

#[test]
fn how_random_windows_count_asks_nothing_again() {
    let dir = tempfile::tempdir().unwrap();
    succeed(bench(dir.path()).args(SMALL));
    let checked = result(dir.path(), "autointerp.csv");
    let again = succeed(bench(dir.path()).args(SMALL));
    assert!(
        again.stderr.contains("nothing to do, all 6 cells are done"),
        "{}",
        again.stderr
    );
    assert_eq!(result(dir.path(), "autointerp.csv"), checked);
    let ran = succeed(
        bench(dir.path())
            .args(SMALL)
            .args(["--random-windows", "paper_code"]),
    );
    assert!(ran.stderr.contains("nothing to do"), "{}", ran.stderr);
    let paper = table(dir.path(), "latents.csv");
    assert_ne!(result(dir.path(), "autointerp.csv"), checked);
    // Unchecked, only the largest and the drawn windows are active: 4 at most.
    assert!(
        paper
            .iter()
            .all(|row| row["active"].split_whitespace().count() <= 4)
    );
}

#[test]
fn corrupted_text_shows_its_masks() {
    let dir = tempfile::tempdir().unwrap();
    let masks = ["--mask-rate", "0.4", "--positions", "policy"];
    succeed(bench(dir.path()).args(SMALL).args(masks));
    let windows = cells(dir.path(), "windows");
    assert_eq!(windows.len(), 2);
    for cell in windows {
        let output = &cell["output"];
        let n = output["n_tokens"].as_u64().unwrap();
        // The SAE of masked positions counts masked positions alone.
        assert_eq!(output["n_masked"], n);
        for latent in output["latents"].as_array().unwrap() {
            for window in latent["shown"].as_array().unwrap() {
                let masked: Vec<u64> = (window["masked"].as_array().unwrap().iter())
                    .map(|at| at.as_u64().unwrap())
                    .collect();
                assert!(
                    masked.contains(&10),
                    "the middle is active, so it is masked"
                );
                for (at, act) in window["acts"].as_array().unwrap().iter().enumerate() {
                    assert!(act == 0.0 || masked.contains(&(at as u64)));
                }
            }
        }
    }
    let questions = cells(dir.path(), "explain");
    assert_eq!(questions.len(), 2);
}

#[test]
fn steering_takes_features_from_explanations() {
    let dir = tempfile::tempdir().unwrap();
    let (explained, steered) = (dir.path().join("explained"), dir.path().join("steered"));
    succeed(bench(&explained).args(SMALL));
    let file = explained.join("explanations.jsonl");
    let lines: Vec<Value> = (fs::read_to_string(&file).unwrap().lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let steer = |k: &str| {
        let mut command = harness();
        command
            .args([
                "bench",
                "table2",
                "--plugins",
                "plugins",
                "--rows",
                "dream-mask",
                "--k",
                k,
            ])
            .args(["--layers", "2,5", "--n-features", "2", "--n-prefix", "1"])
            .args([
                "--dlm-steps",
                "4",
                "--max-new-tokens",
                "8",
                "--threads",
                "1",
            ])
            .args(["--budget-tokens", "2000", "--explanations"])
            .arg(&file)
            .arg("--out")
            .arg(&steered);
        run(&mut command)
    };
    let ran = steer("8");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let scores = cells(&steered, "score");
    assert_eq!(scores.len(), 2);
    for score in scores {
        for feature in score["output"]["features"].as_array().unwrap() {
            let told = lines.iter().any(|line| {
                line["latent"] == feature["latent"] && line["explanation"] == feature["explanation"]
            });
            assert!(told, "{feature} is among the explanations");
        }
        assert_eq!(score["output"]["n_features"], 2);
    }
    let missing = steer("4");
    assert_eq!(missing.code, 3, "{}", missing.stderr);
    assert!(
        missing.stderr.contains("explains no latent of dream-mask"),
        "{}",
        missing.stderr
    );
}
