//! `harness bench decoding-order` on the embedded model: its files, its work, what stops it, and
//! that nothing on the way changes numbers.
//!
//! The bench is at its smallest: two layers, three orders, six questions in three parts, six steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::cells::{manifest, waits};
use crate::support::{
    Ran, cell_files, copy_folder, harness, only_child_of, result, run, signal, start, succeed,
    wait_for_cells,
};

const ORDERS: [&str; 3] = ["origin", "entropy", "sae-stability-early"];
const METRICS: [&str; 4] = ["jaccard_pre", "drift_post", "lock_rate", "flip_count"];

/// Questions, questions of a part, steps and tokens of a bench on layers 2 and 5.
fn bench(table: &str, out: &Path, [n, part, steps, tokens]: [u32; 4]) -> Command {
    let mut command = harness();
    command
        .args(["bench", table, "--plugins", "plugins", "--out"])
        .arg(out)
        .args(["--layers", "2,5", "--threads", "1"])
        .args(["--orders", &ORDERS.join(",")])
        .args(["--n-questions", &n.to_string()])
        .args(["--set", &format!("shard_questions={part}")])
        .args(["--dlm-steps", &steps.to_string()])
        .args(["--max-new-tokens", &tokens.to_string()]);
    command
}

fn small(table: &str, out: &Path) -> Command {
    bench(table, out, [6, 2, 6, 8])
}

/// Results of an uninterrupted run of the small bench, computed once for all tests.
fn reference() -> &'static Path {
    static REFERENCE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, out) = REFERENCE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("reference");
        succeed(&mut small("decoding-order", &out));
        (dir, out)
    });
    out
}

/// Files of a run with an ending, by name.
fn files(out: &Path, ending: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(out).unwrap().map(|entry| entry.unwrap());
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let of_kind = names.filter(|name| name.ends_with(ending));
    of_kind
        .map(|name| (name.clone(), result(out, &name)))
        .collect()
}

/// Rows of a table by column.
fn rows(table: &str) -> Vec<BTreeMap<&str, &str>> {
    let header: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let row = |line| header.iter().copied().zip(str::split(line, ',')).collect();
    table.lines().skip(1).map(row).collect()
}

#[test]
fn tables_and_pictures_of_three_orders_from_one_pass_a_step() {
    let tables = files(reference(), ".csv");
    let n: BTreeMap<&str, usize> = tables
        .iter()
        .map(|(name, text)| (name.as_str(), text.lines().count() - 1))
        .collect();
    // Orders x layers x transitions x metrics; five bins, as many as there are transitions; three
    // pairs of orders, read in two ways.
    let want = [
        ("accuracy.csv", 3 * 2),
        ("accuracy_paired.csv", 3 * 2),
        ("decoding-order.csv", 3 * 2 * 5 * 4),
        ("decoding-order_curves.csv", 3 * 5 * 4),
        ("decoding-order_summary.csv", 3 * 3 * 4),
        ("fig11.csv", 3 * 2 * 5 * 2),
        ("fig11_curves.csv", 3 * 5 * 2),
        ("fig4.csv", 3 * 2 * 5),
        ("fig4_curves.csv", 3 * 5),
        ("fig5.csv", 3 * 2 * 5),
        ("fig5_curves.csv", 3 * 5),
    ];
    assert_eq!(n, BTreeMap::from(want));
    for (name, text) in &tables {
        let all_ok = text.lines().skip(1).all(|row| row.ends_with(",ok"));
        assert!(all_ok, "{name}\n{text}");
    }
    let pictures = files(reference(), ".svg");
    let mut names: BTreeSet<String> = ["accuracy", "decoding-order_curves", "fig4", "fig4_curves"]
        .into_iter()
        .chain(["fig5", "fig5_curves", "fig11_curves"])
        .chain(["fig11_lock_rate", "fig11_flip_count"])
        .map(|name| format!("{name}.svg"))
        .collect();
    names.extend(METRICS.map(|metric| format!("decoding-order_{metric}.svg")));
    assert_eq!(pictures.keys().cloned().collect::<BTreeSet<_>>(), names);
    for (name, text) in &pictures {
        assert!(
            text.contains("<svg") && text.ends_with("</svg>\n"),
            "{name}"
        );
        // A long name is broken into lines.
        let names_orders = text.contains("origin") && text.contains("entropy");
        assert!(names_orders, "{name}");
    }
}

#[test]
fn values_are_shares_and_counts_of_what_was_generated() {
    let table = result(reference(), "decoding-order.csv");
    let mut n_defined: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows(&table) {
        let n: u64 = row["n"].parse().unwrap();
        let Ok(value) = row["value"].parse::<f64>() else {
            // Undefined is empty, and formed from nothing.
            assert!(row["value"].is_empty() && n == 0, "{row:?}");
            continue;
        };
        *n_defined.entry(row["metric"]).or_default() += 1;
        match row["metric"] {
            // Positions are eight, prompts six.
            "flip_count" => assert!((0.0..=8.0).contains(&value) && n == 6, "{row:?}"),
            _ => assert!((0.0..=1.0).contains(&value) && n > 0 && n <= 48, "{row:?}"),
        }
    }
    assert!(
        METRICS.iter().all(|metric| n_defined[metric] > 3),
        "{n_defined:?}"
    );
    // Features of different orders are not the same.
    let of = |order: &str| -> Vec<String> {
        let of_order = rows(&table).into_iter().filter(|row| row["order"] == order);
        of_order.map(|row| row["value"].to_owned()).collect()
    };
    assert_ne!(of("origin"), of("entropy"));
    assert_ne!(of("entropy"), of("sae-stability-early"));
    for row in rows(&result(reference(), "accuracy.csv")) {
        assert_eq!((row["n"], row["n_gold_unread"]), ("6", "0"), "{row:?}");
        let [lo, accuracy, hi] = ["lo", "accuracy", "hi"].map(|c| row[c].parse::<f64>().unwrap());
        assert!(lo <= accuracy && accuracy <= hi && hi - lo > 0.2, "{row:?}");
        let steps: f64 = row["mean_steps"].parse().unwrap();
        assert!(steps > 0.0 && steps <= 6.0, "{row:?}");
    }
}

/// Tokens and what orders read of features come from the model's device together.
#[test]
fn a_step_waits_once_for_its_tokens_and_its_features() {
    assert_eq!(waits(reference(), "decoding"), Some(1.0));
}

/// Features are read off the passes that generate: nothing is run a second time.
#[test]
fn a_batch_takes_as_many_block_passes_as_steps_times_blocks() {
    let manifest = manifest(reference());
    let decoding = &manifest["decoding"];
    assert_eq!(
        decoding["steps_per_batch"].as_f64(),
        Some(6.0),
        "{decoding}"
    );
    assert_eq!(
        decoding["block_passes_per_batch"].as_f64(),
        Some(6.0 * 8.0),
        "{decoding}"
    );
    assert_eq!(decoding["answers"].as_u64(), Some(6 * 3));
    // Answers x steps x positions x layers.
    assert_eq!(decoding["sae_rows"].as_u64(), Some(18 * 6 * 8 * 2));
    let batches = decoding["batches"].as_u64().unwrap();
    assert!((9..=18).contains(&batches), "{decoding}");
    assert_eq!(manifest["exit_code"].as_u64(), Some(0));
    let dir = tempfile::tempdir().unwrap();
    let dry = succeed(small("decoding-order", &dir.path().join("none")).arg("--dry-run"));
    let line = dry.stdout.lines().find(|line| line.starts_with("decoding"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    // Stage, cells, to run, block passes: questions x steps x blocks x orders.
    assert_eq!(words[..4], ["decoding", "9", "9", "864"], "{}", dry.stdout);
}

#[test]
fn figures_of_the_bench_find_everything_done() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("copy");
    copy_folder(reference(), &out);
    for figure in ["fig4", "fig5", "fig11"] {
        let name = format!("{figure}.csv");
        fs::remove_file(out.join(&name)).unwrap();
        let ran = succeed(&mut small(figure, &out));
        assert!(ran.stderr.contains("nothing to do"), "{}", ran.stderr);
        assert_eq!(result(&out, &name), result(reference(), &name));
    }
    // Other resamples and bins are other tables of the same cells.
    let mut again = small("decoding-order", &out);
    let ran = succeed(again.args(["--set", "bins=2", "--by-position"]));
    assert!(ran.stderr.contains("nothing to do"), "{}", ran.stderr);
    let curves = result(&out, "decoding-order_curves.csv");
    assert_eq!(curves.lines().count(), 1 + 3 * 2 * 4);
    let positions = result(&out, "decoding-order_by_position.csv");
    assert_eq!(positions.lines().count(), 1 + 3 * 2 * 8 * 4);
}

/// Host and worker are killed at different places; what is there is kept and what is not is
/// computed.
#[test]
fn killed_runs_end_in_the_same_tables() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("killed");
    // More and longer parts than the small bench has, so that no run ends before it is killed.
    let sizes = [12, 2, 12, 16];
    let command = || {
        let mut command = bench("decoding-order", &out, sizes);
        command.args(["--workers", "1"]);
        command
    };
    for cells in [1, 5] {
        let mut host = start(&mut command());
        wait_for_cells(&out, cells, &mut host);
        host.kill().unwrap();
        host.wait().unwrap();
    }
    let mut host = start(&mut command());
    wait_for_cells(&out, 9, &mut host);
    signal("-KILL", only_child_of(host.id()));
    let ended: Ran = host.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    assert!(ended.stderr.contains("SIGKILL"), "{}", ended.stderr);
    let ran = succeed(&mut command());
    assert!(
        ran.stderr.contains("18 cells, 17 of them done"),
        "{}",
        ran.stderr
    );
    let whole = dir.path().join("whole");
    succeed(&mut bench("decoding-order", &whole, sizes));
    assert_eq!(files(&out, ".csv"), files(&whole, ".csv"));
    assert_eq!(files(&out, ".svg"), files(&whole, ".svg"));
}

/// A file of word problems; `gold` makes the worked answer of a sum.
fn questions(path: &Path, n: u32, gold: impl Fn(u32, u32) -> Option<String>) {
    let line = |i: u32| {
        let mut row = serde_json::json!({
            "question": format!("Anna has {} apples and buys 2 more. How many apples does Anna have?", i + 1),
        });
        if let Some(answer) = gold(i, i + 3) {
            row["answer"] = answer.into();
        }
        format!("{row}\n")
    };
    fs::write(path, (0..n).map(line).collect::<String>()).unwrap();
}

fn worked(_: u32, sum: u32) -> Option<String> {
    Some(format!("It is {sum}.\n#### {sum}"))
}

/// Rows of a batch have prompts of one length, so these questions of equal length go through the
/// model six at a time or one by one.
#[test]
fn batches_and_workers_change_no_byte_of_a_reproducible_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("questions.jsonl");
    questions(&file, 6, worked);
    let run = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let mut command = bench("decoding-order", &out, [6, 6, 6, 8]);
        command.arg("--reproducible").arg("--questions").arg(&file);
        succeed(command.args(more));
        let batches = manifest(&out)["decoding"]["batches"].as_u64();
        let outputs: BTreeMap<_, _> = cell_files(&out, "")
            .into_iter()
            .map(|path| {
                let cell: serde_json::Value =
                    serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
                let name = path.file_name().unwrap().to_owned();
                (name, cell["record"]["output"].clone())
            })
            .collect();
        assert_eq!(outputs.len(), 3);
        // What a cell holds, and not only what the tables show of it, follows from its key.
        ((files(&out, ".csv"), outputs), batches.unwrap())
    };
    let (together, few) = run("together", &["--workers", "1"]);
    let (apart, many) = run("apart", &["--workers", "2", "--batch", "1"]);
    assert_eq!((few, many), (3, 18));
    assert_eq!(together, apart);
}

#[test]
fn unknown_orders_are_refused_and_those_of_any_plugin_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("orders");
    let with = |orders: &str| {
        let mut command = harness();
        command
            .args(["bench", "decoding-order", "--plugins", "plugins", "--out"])
            .arg(&out)
            .args(["--layers", "2", "--threads", "1", "--n-questions", "2"])
            .args(["--dlm-steps", "4", "--max-new-tokens", "6"])
            .args(["--orders", orders]);
        command
    };
    let refused = run(&mut with("origin,entrpy"));
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    for part in ["`entrpy`", "did you mean `entropy`"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    assert_eq!(run(&mut with("origin,origin")).code, 3);
    // Neither is of the bench file; the second is LLaDA's and runs on Dream.
    succeed(&mut with("random,low_confidence"));
    let table = result(&out, "accuracy.csv");
    let orders: Vec<&str> = rows(&table).iter().map(|row| row["order"]).collect();
    assert_eq!(
        orders,
        ["random", "random", "low_confidence", "low_confidence"]
    );
}

#[test]
fn a_gold_answer_that_cannot_be_read_is_counted_and_not_scored() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("questions.jsonl");
    // The second has no number, the fourth no answer at all.
    questions(&plain, 6, |i, sum| match i {
        1 => Some("Nobody knows.".to_owned()),
        3 => None,
        _ => worked(i, sum),
    });
    succeed(Command::new("gzip").arg(&plain));
    let out = dir.path().join("unread");
    let mut command = small("decoding-order", &out);
    let packed = dir.path().join("questions.jsonl.gz");
    command.args(["--max-bad-rows", "0.4"]);
    let ran = succeed(command.arg("--questions").arg(packed));
    for row in rows(&result(&out, "accuracy.csv")) {
        assert_eq!((row["n"], row["n_gold_unread"]), ("4", "2"), "{row:?}");
    }
    for row in rows(&result(&out, "accuracy_paired.csv")) {
        assert_eq!(row["n"], "4", "{row:?}");
    }
    // They are answered all the same: their features count.
    let decoding = &manifest(&out)["decoding"];
    assert_eq!(decoding["answers"].as_u64(), Some(18), "{decoding}");
    let note = "2 questions have a gold answer that could not be read";
    assert!(ran.stdout.contains(note), "{}", ran.stdout);
}

#[test]
fn question_files_that_cannot_be_used_are_input_errors() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("questions.jsonl");
    questions(&file, 5, worked);
    let refused = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        // One part, so that nothing is done before it fails.
        let mut command = bench("decoding-order", &out, [6, 6, 6, 8]);
        let ran = run(command.arg("--questions").arg(&file).args(more));
        assert_eq!(ran.code, 20, "{}", ran.stderr);
        ran.stderr
    };
    let says = |text: &str, parts: &[&str]| {
        for part in parts {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    };
    let few = refused("few", &[]);
    says(&few, &["hold 5 questions", "asks 6", "n_questions=5"]);
    let no_question = refused("question", &["--set", "question_field=task"]);
    says(&no_question, &["questions.jsonl:1", "\"task\""]);
    // Found out before anything is answered, since nothing could be scored.
    let solution = ["--set", "answer_field=solution", "--set", "n_questions=5"];
    let no_answer = refused("answer", &solution);
    says(
        &no_answer,
        &["questions.jsonl:1", "`solution`", "answer_field=NAME"],
    );
    let absent = dir.path().join("absent.jsonl");
    let mut command = small("decoding-order", &dir.path().join("absent"));
    let ran = run(command.arg("--questions").arg(absent));
    assert_eq!(ran.code, 20, "{}", ran.stderr);
    says(&ran.stderr, &["absent.jsonl"]);
}

/// Questions for a bench that asks none, and text for one that reads none, are mistakes.
#[test]
fn questions_belong_to_decoding_benches_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("questions.jsonl");
    questions(&file, 2, worked);
    for (table, option, part) in [
        ("table2", "--questions", "decoding benches"),
        ("fidelity", "--questions", "decoding benches"),
        ("decoding-order", "--data", "--questions"),
        ("decoding-order", "--prompts", "rollout benches"),
    ] {
        let mut command = harness();
        let bench = ["bench", table, "--plugins", "plugins", "--dry-run", option];
        let ran = run(command.args(bench).arg(&file));
        assert_eq!(ran.code, 3, "{table} {option}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(option) && ran.stderr.contains(part),
            "{}",
            ran.stderr
        );
    }
}

/// A worker holds one part at a time: ten times the questions, in parts of one size, take the same
/// memory. What the allocator keeps differs a little from run to run, so a twentieth is allowed.
#[test]
fn memory_does_not_grow_with_the_questions() {
    let dir = tempfile::tempdir().unwrap();
    let peak = |n: u32| {
        let out = dir.path().join(n.to_string());
        let mut command = bench("decoding-order", &out, [n, 6, 6, 8]);
        succeed(command.args(["--workers", "1"]));
        manifest(&out)["decoding"]["peak_bytes"].as_u64().unwrap() as f64
    };
    let (few, many) = (peak(6), peak(60));
    assert!(few > 1e7 && (many / few - 1.0).abs() < 0.05, "{few} {many}");
}
