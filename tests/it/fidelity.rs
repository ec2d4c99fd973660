//! Grid benches on the embedded models: fidelity, transfer and what they share.
//!
//! The benches are at their smallest: two layers, one k, some hundred tokens.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use crate::cells::{manifest, waits};
use crate::support::{harness, result, root, run, succeed};

const SMALL: [&str; 8] = [
    "--layers",
    "2,5",
    "--budget-tokens",
    "600",
    "--context-length",
    "48",
    "--threads",
    "1",
];

fn bench(table: &str, out: &Path) -> Command {
    let mut command = harness();
    command
        .args(["bench", table, "--plugins", "plugins", "--out"])
        .arg(out);
    command
}

/// Values of a tidy table by model, SAE set, layer, k, metric and variant; no two SAEs share these.
fn values(out: &Path, name: &str) -> BTreeMap<String, f64> {
    let table = result(out, name);
    let mut values = BTreeMap::new();
    for row in table.lines().skip(1) {
        let fields: Vec<&str> = row.split(',').collect();
        assert_eq!(fields.len(), 11, "{row}");
        assert_eq!(fields[10], "ok", "{row}");
        let value = fields[7].parse();
        values.insert(
            [&fields[..2], &fields[3..7]].concat().join(","),
            value.unwrap_or_else(|_| panic!("{row} has no value")),
        );
    }
    values
}

/// A checkpoint and SAEs under a name that the bench does not have are a row by themselves, with
/// the values of the row that has the same folders.
#[test]
fn a_row_of_ones_own_has_the_values_of_its_folders() {
    let dir = tempfile::tempdir().unwrap();
    let (mine, usual) = (dir.path().join("mine"), dir.path().join("usual"));
    let zoo = |name: &str| {
        root()
            .join("benchmarks/zoo")
            .join(name)
            .display()
            .to_string()
    };
    let ran = succeed(
        bench("fidelity", &mine)
            .args(SMALL)
            .arg(format!("--model=mine={}", zoo("dream")))
            .arg(format!("--saes=mine={}", zoo("saes/dream-mask")))
            .args(["--data", "embedded", "--profile", "zoo", "--k", "8"]),
    );
    assert!(
        ran.stderr
            .contains("running the rows that folders are given for, mine/mine")
    );
    succeed(
        bench("fidelity", &usual)
            .args(SMALL)
            .args(["--rows", "dream-mask", "--k", "8"]),
    );
    let renamed =
        |(key, value): (String, f64)| (key.replace("dream,dream-mask", "mine,mine"), value);
    let usual: BTreeMap<String, f64> = values(&usual, "fidelity.csv")
        .into_iter()
        .map(renamed)
        .collect();
    assert_eq!(values(&mine, "fidelity.csv"), usual);
}

#[test]
fn fidelity_of_every_model_from_one_pass_each() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("fidelity");
    let ran = succeed(bench("fidelity", &out).args(SMALL).args(["--k", "8"]));
    assert!(
        ran.stdout
            .contains("dream-mask spliced into dream, on text (policy mask)"),
        "{}",
        ran.stdout
    );
    let values_of = values(&out, "fidelity.csv");
    let get = |key: &str| {
        *values_of
            .get(key)
            .unwrap_or_else(|| panic!("no {key} in {:?}", values_of.keys()))
    };
    for (model, sae) in [
        ("qwen", "qwen"),
        ("dream", "dream-unmask"),
        ("dream", "dream-mask"),
        ("llama", "llama"),
        ("llada", "llada-unmask"),
        ("llada", "llada-mask"),
    ] {
        for layer in [2, 5] {
            let at = format!("{model},{sae},{layer},8");
            let ev = get(&format!("{at},ev,ev_var"));
            assert!((0.2..1.0).contains(&ev), "{at}: EV {ev}");
            let loss = |metric: &str, variant: &str| get(&format!("{at},{metric},{variant}"));
            let delta = loss("delta_lm_loss", "aligned-plain-all");
            let spliced = loss("spliced_loss", "aligned-plain-all");
            let clean = loss("clean_loss", "aligned-plain");
            assert!((spliced - clean - delta).abs() < 1e-12, "{at}");
            // A trained model on its own text, far from the 7.6 nats of a uniform guess.
            assert!((0.1..7.0).contains(&clean), "{at}: {clean}");
            assert!(loss("kl", "aligned-plain-all") > 0.0, "{at}");
            assert!(
                loss("loss_recovered", "aligned-plain-all") < 1.0 + 1e-9,
                "{at}"
            );
        }
    }
    // SAEs of one model see the same masks, so their clean losses are one number.
    let clean = |sae: &str| get(&format!("dream,{sae},2,8,clean_loss,aligned-weighted"));
    assert_eq!(clean("dream-mask"), clean("dream-unmask"));
    assert!(values_of.contains_key("dream,dream-mask,2,8,delta_lm_loss,paper_code-plain-all"));
    assert!(
        !values_of
            .keys()
            .any(|key| key.starts_with("llada") && key.contains("paper_code"))
    );

    for (name, header) in [
        (
            "fig3.csv",
            "model,sae,sae_id,layer,k,delta_lm,clean,spliced,masked_tokens,status",
        ),
        (
            "fig7.csv",
            "model,sae,sae_id,layer,k,delta_lm,clean,spliced,masked_tokens,status",
        ),
        ("fig8.csv", "model,sae,sae_id,layer,k,ev,status"),
    ] {
        let figure = result(&out, name);
        assert_eq!(figure.lines().next().unwrap(), header);
        assert_eq!(figure.lines().count(), 7, "{figure}");
    }
    let manifest = manifest(&out);
    let grid = &manifest["grid"];
    assert!(grid["batches"].as_u64().unwrap() > 0, "{grid}");
    // However many models, layers and SAEs there are.
    assert_eq!(waits(&out, "fidelity"), Some(1.0));
    let share = grid["fraction_of_peak"].as_f64().unwrap();
    assert!(share > 0.0 && share < 1.5, "{grid}");

    // A figure of the bench finds everything done.
    let again = succeed(bench("fig7", &out).args(SMALL).args(["--k", "8"]));
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
}

/// Head rows and block passes are what the plan says, whatever batch and memory are.
#[test]
fn batch_and_memory_change_the_work_and_not_the_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let rows = ["--rows", "dream-mask", "--measures", "kl", "--workers", "1"];
    let (wide, narrow) = (dir.path().join("wide"), dir.path().join("narrow"));
    succeed(bench("fidelity", &wide).args(SMALL).args(rows));
    succeed(
        bench("fidelity", &narrow)
            .args(SMALL)
            .args(rows)
            .args(["--batch", "3", "--memory", "2G"]),
    );
    let (a, b) = (
        values(&wide, "fidelity.csv"),
        values(&narrow, "fidelity.csv"),
    );
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (key, value) in &a {
        // Sums of f32 products over other shapes.
        let other = b[key];
        assert!(
            (value - other).abs() <= 1e-4 * (1.0 + value.abs()),
            "{key}: {value} {other}"
        );
    }
    for out in [&wide, &narrow] {
        let manifest = manifest(out);
        let grid = &manifest["grid"];
        // Layers 2 and 5 of 8 blocks, k 4 and 8: 8 + 2 (5 + 2) passes, and 1 + 4 rows of the head
        // for a counted token.
        assert_eq!(
            grid["block_passes_per_batch"].as_f64(),
            Some(22.0),
            "{grid}"
        );
        let (head, counted) = (&grid["head_rows"], &grid["counted_tokens"]);
        assert_eq!(head.as_u64().unwrap(), 5 * counted.as_u64().unwrap());
    }
}

#[test]
fn shards_add_up_and_a_larger_budget_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("sharded");
    let small = |budget: &'static str, out: &Path| {
        let mut command = bench("fidelity", out);
        command.args([
            "--rows",
            "qwen",
            "--layers",
            "2",
            "--k",
            "8",
            "--threads",
            "1",
        ]);
        command.args(["--context-length", "48", "--measures", "none"]);
        command.args(["--budget-tokens", budget]);
        command
    };
    succeed(small("300", &out).args(["--set", "shard_tokens=300"]));
    let ran = succeed(small("600", &out).args(["--set", "shard_tokens=300"]));
    assert!(
        ran.stderr.contains("2 cells, 1 of them done"),
        "{}",
        ran.stderr
    );
    let whole = dir.path().join("whole");
    succeed(small("600", &whole).args(["--set", "shard_tokens=600"]));
    let (a, b) = (values(&out, "fidelity.csv"), values(&whole, "fidelity.csv"));
    for (key, value) in &b {
        let other = a[key];
        assert!(
            (value - other).abs() <= 1e-4 * (1.0 + value.abs()),
            "{key}: {value} {other}"
        );
    }
}

#[test]
fn text_that_ends_early_is_an_error_unless_it_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("few.jsonl");
    fs::write(
        &data,
        "{\"text\":\"The baker opened the oven and took the bread.\"}\n",
    )
    .unwrap();
    let command = |name: &str| {
        let mut command = bench("fidelity", &dir.path().join(name));
        command
            .args([
                "--rows",
                "qwen",
                "--layers",
                "2",
                "--k",
                "8",
                "--threads",
                "1",
                "--data",
            ])
            .arg(&data);
        command
    };
    let refused = run(&mut command("refused"));
    assert_eq!(refused.code, 20, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("--allow-short"),
        "{}",
        refused.stderr
    );
    let ran = succeed(command("allowed").arg("--allow-short"));
    assert!(
        ran.stdout.contains("the text ended before the budget did"),
        "{}",
        ran.stdout
    );
}

#[test]
fn transfer_on_text_and_on_rollouts_meet_in_fig6() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("transfer");
    let rollouts = [
        "--set",
        "n_prompts=12",
        "--max-new-tokens",
        "8",
        "--dlm-steps",
        "8",
    ];
    let few = [
        "--layers",
        "5",
        "--k",
        "8",
        "--measures",
        "kl",
        "--threads",
        "1",
    ];
    succeed(bench("transfer-rollouts", &out).args(few).args(rollouts));
    let table = values(&out, "transfer-rollouts.csv");
    assert!(table.contains_key("dream-sft,dream-mask,5,8,delta_lm_loss,aligned-weighted-all"));
    assert_eq!(manifest(&out)["counters"]["generations"].as_u64(), Some(12));
    let ran = succeed(bench("fig6", &out).args(few).args(rollouts).args([
        "--budget-tokens",
        "600",
        "--context-length",
        "48",
    ]));
    // The rollouts and what was measured on them are there: two SAEs on text are left.
    assert!(
        ran.stderr.contains("5 cells, 3 of them done"),
        "{}",
        ran.stderr
    );
    let fig6 = result(&out, "fig6.csv");
    assert_eq!(fig6.lines().count(), 3, "{fig6}");
    for row in fig6.lines().skip(1) {
        let fields: Vec<&str> = row.split(',').collect();
        assert!(
            fields.len() == 9 && fields.iter().all(|field| !field.is_empty()),
            "{row}"
        );
    }
}

#[test]
fn tables_1_and_3_list_the_sets() {
    let dir = tempfile::tempdir().unwrap();
    for (table, part) in [("table1", "Insertion layers"), ("table3", "dream-sft-mask")] {
        let mut command = harness();
        let ran = succeed(command.args(["bench", table, "--out"]).arg(dir.path()));
        assert!(ran.stdout.contains(part), "{}", ran.stdout);
        assert!(result(dir.path(), &format!("{table}.csv")).contains(part));
    }
}
