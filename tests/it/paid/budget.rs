//! Budgets: what does not fit is not sent, what is there is kept, and a larger budget goes on.

use std::process::Command;

use super::{behind, kept, paid, server::Act, server::Server, store};
use crate::support::{harness, run, succeed};

#[test]
fn a_number_of_calls_is_not_exceeded_and_a_larger_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let server = Server::start(|_, _| Act::Answer);
    let ran = run(paid(&out, &server).args(["--max-calls", "7", "--workers", "2"]));
    assert_eq!(ran.code, 31, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("7 calls (--max-calls)"),
        "{}",
        ran.stderr
    );
    assert_eq!(server.n_asked(), 7);
    assert_eq!(kept(&out.join("replies")).len(), 7);
    succeed(paid(&out, &server).args(["--max-calls", "100"]));
    assert!(server.seen().values().all(|seen| seen.asked == 1));
    assert_eq!(kept(&out.join("replies")).len(), server.n_asked());
}

#[test]
fn a_cost_is_reserved_at_its_worst_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let server = Server::start(|_, _| Act::Answer);
    // 1 USD a token. An answer takes 320 tokens; the worst case of the next is far more.
    let price = ["--price-in", "1000000", "--price-out", "1000000"];
    let ran = run(paid(&out, &server).args(["--max-cost", "10"]).args(price));
    assert_eq!(ran.code, 31, "{}", ran.stderr);
    assert_eq!(
        server.n_asked(),
        0,
        "the worst case of one question does not fit"
    );
    let ran = run(paid(&out, &server).args(["--max-cost", "9000"]).args(price));
    assert_eq!(ran.code, 31, "{}", ran.stderr);
    let n = server.n_answered();
    assert!(n > 0 && n * 320 <= 9000, "{n} answers");
    // What was not used is given back: more is sent than would fit at the worst case of 2,000 or
    // more a question.
    assert!(n > 9000 / 2000, "{n} answers");
    assert!(ran.stderr.contains("--max-cost"), "{}", ran.stderr);
    succeed(
        paid(&out, &server)
            .args(["--max-cost", "10000000"])
            .args(price),
    );
    assert!(server.seen().values().all(|seen| seen.asked == 1));
}

#[test]
fn a_cost_without_a_price_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let server = Server::start(|_, _| Act::Answer);
    let ran = run(paid(&out, &server).args(["--max-cost", "1", "--judge-model", "my-own"]));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("--price-in"), "{}", ran.stderr);
    // The price of the listed model is not that of another server's model of the same name.
    let ran = run(paid(&out, &server).args(["--max-cost", "1"]));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains(&server.judge()), "{}", ran.stderr);
    assert_eq!(server.n_asked(), 0);
}

/// The line of a dry run about the judge.
fn judge_line(command: &mut Command) -> String {
    let ran = succeed(command.arg("--dry-run"));
    let is_line = |line: &&str| line.starts_with("judge ") && line.contains(" calls, ");
    let line = ran.stdout.lines().find(is_line);
    line.unwrap_or_else(|| panic!("no line about the judge in\n{}", ran.stdout))
        .to_owned()
}

#[test]
fn a_dry_run_says_calls_tokens_and_dollars() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("none");
    let server = Server::start(|_, _| Act::Answer);
    let own = || {
        let mut command = paid(&out, &server);
        command.env_remove("OPENAI_BASE_URL");
        command
    };
    let dollars = |line: &str| -> f64 {
        let (_, rest) = line.split_once("about $").unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    let live = judge_line(&mut own());
    for part in [
        "judge gpt-4o-mini: ",
        "36 calls",
        "tokens",
        "about $0.00",
        "on the list of 20",
    ] {
        assert!(live.contains(part), "{part} is not in {live}");
    }
    let batch = judge_line(own().args(["--judge-mode", "batch"]));
    assert!(batch.contains("at half the price"), "{batch}");
    assert!(
        (dollars(&live) - 2.0 * dollars(&batch)).abs() <= 1.5e-4,
        "{live}{batch}"
    );
    // The judge is the one that the plugin would ask.
    let named = judge_line(own().env("HARNESS_JUDGE_MODEL", "gpt-4o"));
    assert!(named.starts_with("judge gpt-4o: "), "{named}");
    let elsewhere = judge_line(&mut paid(&out, &server));
    assert!(elsewhere.contains(&server.judge()), "{elsewhere}");
    assert!(elsewhere.contains("--price-in"), "{elsewhere}");
    let offline = succeed(crate::bench::small(&out).arg("--dry-run"));
    assert!(
        !offline.stdout.contains("tokens sent"),
        "{}",
        offline.stdout
    );
    assert_eq!(server.n_asked(), 0);
}

#[test]
fn concurrency_out_of_bounds_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for wrong in ["0", "1025", "-1", "some"] {
        let ran = run(crate::bench::small(dir.path()).args(["--judge-concurrency", wrong]));
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains("from 1 to 1024"), "{}", ran.stderr);
    }
}

#[test]
fn budgets_are_for_benches_that_have_a_judge() {
    let args = [
        "bench",
        "fidelity",
        "--plugins",
        "plugins",
        "--max-calls",
        "3",
        "--dry-run",
    ];
    let ran = run(harness().args(args));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("--max-calls: is for steering and autointerp benches"),
        "{}",
        ran.stderr
    );
    let ran = run(harness().args([
        "bench",
        "table2",
        "--plugins",
        "plugins",
        "--max-cost",
        "-1",
    ]));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
}

/// Shares of a plan are one run: what they spend counts together.
#[test]
fn shares_of_a_plan_have_one_budget() {
    let dir = tempfile::tempdir().unwrap();
    let (out, plan) = (store(dir.path()), dir.path().join("plan.json"));
    let server = Server::start(|_, _| Act::Answer);
    let mut bench = paid(&out, &server);
    bench.args(["--max-calls", "7", "--chunks", "4", "--write-plan"]);
    succeed(bench.arg(&plan));
    let share = |index: usize| {
        let mut command = behind(harness(), &server);
        command.args(["run-cells", "--plan"]).arg(&plan);
        run(command.args(["--shard", &format!("{index}/2")])).code
    };
    let codes = [share(0), share(1)];
    assert!(codes.contains(&31), "{codes:?}");
    assert_eq!(server.n_asked(), 7);
}
