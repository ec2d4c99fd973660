//! What a dry run predicts, held against what runs measure, and every bench in one command.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    bench::{SMALL, reference, small},
    support::{harness, run, succeed, write},
};

/// Columns of the lines of a dry run's first table by stage: cells, to run, block passes, head
/// rows, generations, and work in FLOP.
fn predicted(command: &mut Command) -> Vec<(String, [f64; 6])> {
    let ran = succeed(command.arg("--dry-run"));
    let number = |word: &str| word.replace(',', "").parse::<f64>().unwrap();
    let mut lines = ran
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("stage "));
    let head = lines
        .next()
        .unwrap_or_else(|| panic!("no table in\n{}", ran.stdout));
    assert!(
        head.contains("work") && head.contains("device time"),
        "{head}"
    );
    let table = lines.take_while(|line| !line.is_empty());
    let rows: Vec<_> = table
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let unit = match words[7] {
                "GFLOP" => 1e9,
                "TFLOP" => 1e12,
                other => panic!("unit {other} in {line}"),
            };
            let columns = [1, 2, 3, 4, 5, 6].map(|i| number(words[i]));
            let [cells, open, passes, head, texts, work] = columns;
            (
                words[0].to_owned(),
                [cells, open, passes, head, texts, work * unit],
            )
        })
        .collect();
    assert!(rows.len() > 1, "{}", ran.stdout);
    rows
}

fn measured(out: &Path) -> Value {
    let text = fs::read_to_string(out.join("run.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every stage that computes, against the counters of a real run: what is written is an upper
/// bound, since texts may end early; nothing is far off, and passes that do not depend on texts are
/// exact.
#[test]
fn steering_takes_what_was_predicted() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = measured(reference());
    let mut compared = 0;
    for (stage, [cells, open, passes, head, texts, flops]) in
        predicted(&mut small(&dir.path().join("none")))
    {
        if stage == "total" {
            continue;
        }
        let of = |what: &str| manifest["stages"][&stage][what].as_f64().unwrap();
        assert_eq!((cells, open), (of("cells"), cells), "{stage}");
        assert_eq!(texts, of("generations"), "{stage}");
        if flops == 0.0 {
            assert_eq!(of("flops"), 0.0, "{stage}");
            continue;
        }
        compared += 1;
        let ratio = |what: &str, predicted: f64| of(what) / predicted;
        let (blocks, heads, work) = (
            ratio("block_passes", passes),
            ratio("head_rows", head.max(1.0)),
            ratio("flops", flops),
        );
        let said = format!("{stage}: passes {blocks}, head rows {heads}, flops {work}");
        match stage.as_str() {
            // Documents are shorter than rows here, so that there are more rows than at least,
            // about twice as many.
            "features" => assert!(
                (1.0..2.5).contains(&blocks) && (1.0..2.5).contains(&work),
                "{said}"
            ),
            // The scorer's tokens of a text are not the model's: there may be one more in a
            // hundred.
            "perplexity" => assert!(
                blocks == 1.0 && (0.9..1.01).contains(&heads) && (0.8..1.1).contains(&work),
                "{said}"
            ),
            _ => assert!(
                blocks == 1.0 && (0.9..=1.0).contains(&heads) && (0.8..1.1).contains(&work),
                "{said}"
            ),
        }
        assert!(of("flops_per_second") > 0.0, "{said}");
    }
    assert_eq!(
        compared, 4,
        "features, baseline, steer and perplexity compute"
    );
    // Done cells are not counted, and the next prediction knows how fast the last run was.
    let again = succeed(small(reference()).arg("--dry-run"));
    let total = again.stdout.lines().find(|line| line.starts_with("total "));
    let words: Vec<&str> = total.unwrap().split_whitespace().collect();
    assert_eq!(words[2], "0", "{}", again.stdout);
    assert!(
        again.stdout.contains("as the last run has reached"),
        "{}",
        again.stdout
    );
}

/// The shapes of the real models, from configurations alone.
#[test]
fn a_configuration_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let dream = dir.path().join("Dream-7B");
    write(
        &dream.join("config.json"),
        r#"{"model_type":"Dream","hidden_size":3584,"num_hidden_layers":28,"num_attention_heads":28,"num_key_value_heads":4,"intermediate_size":18944,"vocab_size":152064,"mask_token_id":151666}"#,
    );
    let command = |table: &str| {
        let mut command = harness();
        command
            .args([
                "bench",
                table,
                "--plugins",
                "plugins",
                "--dtype",
                "bf16",
                "--dry-run",
            ])
            .arg("--out")
            .arg(dir.path().join("none"))
            .arg(format!("--model=dream={}", dream.display()));
        command
    };
    let ran = succeed(command("table2").args(["--peak-flops", "989T", "--rows", "dream-mask"]));
    for part in [
        "device time at 0.4 of 989 TFLOP/s (as given)",
        "no weights, taken to have 7,",
        "SAE set dream-mask: not given, taken to have 16384 latents",
        "of a text that is not given and taken to be long enough",
        "SAE set dream-mask: 36 SAEs, layers 1,5,10,14,23,27, k 50,80,160,320,520,820, budgets of real",
        "nothing was loaded and nothing was run",
    ] {
        assert!(
            ran.stdout.contains(part),
            "{part} is not in\n{}",
            ran.stdout
        );
    }
    let steer = ran
        .stdout
        .lines()
        .find(|line| line.starts_with("steer "))
        .unwrap();
    // 36 SAEs x 100 features x 5 prefixes, 30 steps of 28 blocks.
    assert!(
        steer.contains("15,120,000") && steer.contains("18,000"),
        "{steer}"
    );
    let paid = succeed(
        command("table2")
            .args(["--judge", "openai", "--rows", "dream-mask"])
            .env_remove("OPENAI_BASE_URL"),
    );
    let judge = paid
        .stdout
        .lines()
        .find(|line| line.starts_with("judge "))
        .unwrap();
    assert!(
        judge.contains("18,000") && paid.stdout.contains("USD"),
        "{}",
        paid.stdout
    );
    // A device's memory is not this machine's, and a bench that lacks a model does not keep the
    // others from being predicted.
    let every = run(command("all").args(["--device", "cuda:0"]));
    assert_eq!(every.code, 20, "{}", every.stderr);
    assert!(
        every.stderr.contains("transfer: error:") && every.stderr.contains("d_model 3584"),
        "{}",
        every.stderr
    );
    let summary = every.stdout.split("\nbench ").last().unwrap();
    let fidelity = summary.lines().find(|line| line.starts_with("fidelity "));
    let work: Vec<&str> = fidelity.unwrap().split_whitespace().collect();
    assert_eq!(work[6], "PFLOP", "{summary}");
    assert!(summary.contains("total without transfer "), "{summary}");
    assert!(!summary.contains("more memory than there is"), "{summary}");
    let small = succeed(command("fidelity").args(["--memory", "20G"]));
    for part in ["and the budget is 20480 MiB", "PFLOP"] {
        assert!(small.stdout.contains(part), "{}", small.stdout);
    }
    // To run it, the weights are needed.
    let mut real = harness();
    real.args([
        "bench",
        "table2",
        "--plugins",
        "plugins",
        "--rows",
        "dream-mask",
        "--out",
    ])
    .arg(dir.path().join("none"))
    .arg(format!("--model=dream={}", dream.display()));
    assert_ne!(run(&mut real).code, 0);
}

#[test]
fn options_of_predictions_need_a_dry_run() {
    let ran = run(harness().args([
        "bench",
        "table2",
        "--plugins",
        "plugins",
        "--peak-flops",
        "1T",
    ]));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("--dry-run"), "{}", ran.stderr);
}

fn all(out: &Path) -> Command {
    let mut command = harness();
    command
        .args([
            "bench",
            "all",
            "--plugins",
            "plugins",
            "--rows",
            "qwen",
            "--latents",
            "4",
            "--out",
        ])
        .arg(out)
        .args(SMALL);
    command
}

#[test]
fn all_benches_run_into_folders_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("all");
    let ran = succeed(&mut all(&out));
    for table in ["autointerp", "fidelity", "table1", "table2", "table3"] {
        let file = out.join(table).join(format!("{table}.csv"));
        assert!(file.is_file(), "{}\n{}", file.display(), ran.stderr);
    }
    // Figures lie beside the table whose cells they show, which are not run again.
    for file in ["fidelity/fig3.csv", "table2/fig9.csv"] {
        assert!(out.join(file).is_file(), "{file}\n{}", ran.stderr);
    }
    assert!(ran.stderr.contains("fig9: nothing to do"), "{}", ran.stderr);
    // Options that only some kinds have go to those; rows of other models are not run.
    assert!(!out.join("decoding-order").exists() && !out.join("transfer").exists());
    let summary = ran
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("bench "));
    let table2 = summary
        .clone()
        .find(|line| line.starts_with("table2 "))
        .unwrap();
    let words: Vec<&str> = table2.split_whitespace().collect();
    assert_eq!(words[1], words[2], "all done: {table2}");
    assert_eq!(words[3], "0", "{table2}");
    // Everything is there: the same command runs nothing.
    let again = succeed(&mut all(&out));
    assert!(
        again.stderr.contains("table2: nothing to do"),
        "{}",
        again.stderr
    );
    assert_eq!(
        again.stderr.matches("nothing to do").count(),
        5,
        "{}",
        again.stderr
    );
    let dry = succeed(all(&out).arg("--dry-run"));
    let total = dry.stdout.lines().rfind(|line| line.starts_with("total "));
    let words: Vec<&str> = total.unwrap().split_whitespace().collect();
    assert_eq!(words[2], "0", "{}", dry.stdout);
}

#[test]
fn names_and_values_that_no_bench_takes_are_refused_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("all");
    let wrong = [
        "--set",
        "lamda=0.3",
        "--model",
        "draem=plugins",
        "--rows",
        "qwem",
    ];
    let ran = run(all(&out).args(wrong));
    assert_ne!(ran.code, 0);
    let ran = run(harness()
        .args(["bench", "all", "--plugins", "plugins"])
        .args(wrong)
        .arg("--out")
        .arg(&out));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    for part in ["did you mean `lambda`", "did you mean `dream`"] {
        assert!(
            ran.stderr.contains(part),
            "{part} is not in\n{}",
            ran.stderr
        );
    }
    assert!(!out.exists());
}
