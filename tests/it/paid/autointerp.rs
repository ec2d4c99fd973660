//! Auto-interpretation by a paid judge: asked once, replayed, within a budget, every answer
//! counted, and the key in no page.

use std::{fs, path::Path, process::Command};

use super::{
    assert_no_key, counter, judged_by, kept,
    server::{Act, Server},
};
use crate::support::{harness, result, run, succeed};

/// Latents of each of the two SAEs.
const LATENTS: usize = 4;

fn bench(out: &Path) -> Command {
    let mut command = harness();
    command
        .args([
            "bench",
            "autointerp",
            "--plugins",
            "plugins",
            "--rows",
            "dream-mask",
        ])
        .args([
            "--layers",
            "2,5",
            "--k",
            "8",
            "--budget-tokens",
            "12000",
            "--threads",
            "1",
        ])
        .args(["--latents", &LATENTS.to_string(), "--out"])
        .arg(out);
    command
}

fn paid(out: &Path, server: &Server) -> Command {
    judged_by(bench(out), server)
}

#[test]
fn a_second_run_asks_nothing_and_replay_names_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second, third, fourth] =
        ["first", "second", "third", "fourth"].map(|name| dir.path().join(name));
    let replies = dir.path().join("replies");
    let folder = ["--replies", replies.to_str().unwrap()];
    let server = Server::start(|_, _| Act::Answer);
    let ran = succeed(paid(&first, &server).args(folder));
    let n = server.n_asked();
    // Each chosen latent is explained and predicted, and those of labels besides.
    assert!(n >= 2 * 2 * LATENTS && kept(&replies).len() == n, "{n}");

    let again = succeed(
        paid(&second, &server)
            .args(folder)
            .env_remove("OPENAI_API_KEY"),
    );
    assert_eq!(server.n_asked(), n, "{}", again.stderr);
    assert!(again.stderr.contains("judge: 0 calls"), "{}", again.stderr);
    let replayed = succeed(bench(&third).args(["--judge", "replay"]).args(folder));
    for file in ["autointerp.csv", "latents.csv", "explanations.jsonl"] {
        assert_eq!(result(&first, file), result(&second, file), "{file}");
        assert_eq!(result(&first, file), result(&third, file), "{file}");
    }

    // Neither the files of the run nor the pages made of it hold the key.
    let report = succeed(harness().args(["report", "features"]).arg(&first));
    let texts = [&ran, &again, &replayed, &report].map(|ran| [&ran.stdout, &ran.stderr]);
    let texts: Vec<&str> = texts.iter().flatten().map(|text| text.as_str()).collect();
    assert!(first.join("pages/index.html").exists());
    assert_no_key(dir.path(), &texts);

    let lost = kept(&replies).remove(0);
    let key = lost.file_stem().unwrap().to_str().unwrap().to_owned();
    fs::remove_file(&lost).unwrap();
    let ran = run(bench(&fourth).args(["--judge", "replay"]).args(folder));
    assert_eq!(ran.code, 30, "{}", ran.stderr);
    assert!(ran.stderr.contains(&key), "{}", ran.stderr);
}

#[test]
fn a_budget_ends_the_run_and_a_larger_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| Act::Answer);
    let ran = run(paid(dir.path(), &server).args(["--max-calls", "5"]));
    assert_eq!(ran.code, 31, "{}", ran.stderr);
    assert_eq!(
        (server.n_asked(), kept(&dir.path().join("replies")).len()),
        (5, 5)
    );
    succeed(&mut paid(dir.path(), &server));
    let seen = server.seen();
    assert!(
        seen.values().all(|seen| seen.asked == 1),
        "nothing is asked twice"
    );
    assert!(result(dir.path(), "autointerp.csv").contains(",ok\n"));
}

/// The first question is refused and the second answered with something else: both latents are
/// counted, by kind.
#[test]
fn answers_that_are_none_are_counted_by_kind() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|number, _| match number {
        0 => Act::Refuse,
        1 => Act::Content("I would rather talk about boats"),
        _ => Act::Answer,
    });
    succeed(paid(dir.path(), &server).args(["--judge-concurrency", "1"]));
    let table = result(dir.path(), "autointerp.csv");
    let row: Vec<&str> = table.lines().nth(1).unwrap().split(',').collect();
    let header: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let value = |column: &str| row[header.iter().position(|c| *c == column).unwrap()];
    assert_eq!(value("n_asked"), LATENTS.to_string());
    assert_eq!(
        (value("n_refused"), value("n_unparsed"), value("n_failed")),
        ("1", "1", "0")
    );
    assert_eq!(value("n_latents"), (LATENTS - 2).to_string());
    let score: f64 = value("autointerp_score").parse().unwrap();
    let counted: f64 = value("score_unanswered_counted").parse().unwrap();
    assert!((counted - score * (LATENTS - 2) as f64 / LATENTS as f64).abs() < 1e-12);
    assert_eq!(counter(dir.path(), "judge_refused"), 1);
}

/// A batch takes up to a day, so the cells of a stage ask in one.
#[test]
fn all_saes_share_a_batch_for_each_stage() {
    let dir = tempfile::tempdir().unwrap();
    let [live, batched] = ["live", "batched"].map(|name| dir.path().join(name));
    let server = Server::start(|_, _| Act::Answer);
    succeed(&mut paid(&live, &server));
    let n = server.n_asked();
    let ran = succeed(paid(&batched, &server).args(["--judge-mode", "batch", "--workers", "2"]));
    assert_eq!(server.batches().n_made(), 2, "{}", ran.stderr);
    assert_eq!(server.n_asked(), 2 * n);
    assert_eq!(counter(&batched, "judge_calls"), n as u64);
    for file in ["autointerp.csv", "latents.csv"] {
        assert_eq!(result(&live, file), result(&batched, file), "{file}");
    }
}
