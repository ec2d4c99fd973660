//! The Batch API: half the price, found again after a kill, never submitted twice.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use super::{
    CANARY, assert_no_key, counter, files, kept,
    killed::{kill, wait},
    paid,
    server::{Act, Line, Server, Silence},
    store,
};
use crate::support::{run, succeed};

/// The bench with its questions in batches, replies in a folder of their own.
fn batched(out: &Path, server: &Server, replies: &Path) -> Command {
    let mut command = paid(out, server);
    command
        .args(["--judge-mode", "batch", "--workers", "1", "--replies"])
        .arg(replies);
    command
}

fn table(out: &Path) -> String {
    fs::read_to_string(out.join("table2.csv")).unwrap()
}

/// Whether nothing is under way any more.
fn is_settled(replies: &Path) -> bool {
    files(&replies.join("batches")).is_empty()
}

/// USD and calls of all runs in the ledger.
fn ledger(replies: &Path) -> (f64, u64) {
    let text = fs::read_to_string(replies.join("ledger.json")).unwrap();
    let ledger: serde_json::Value = serde_json::from_str(&text).unwrap();
    let runs = ledger["runs"].as_object().unwrap().values();
    runs.fold((0.0, 0), |(usd, calls), run| {
        (
            usd + run["usd"].as_f64().unwrap(),
            calls + run["calls"].as_u64().unwrap(),
        )
    })
}

#[test]
fn batches_cost_half_and_end_in_the_same_table() {
    let dir = tempfile::tempdir().unwrap();
    let replies = dir.path().join("replies");
    let server = Server::start(|_, _| Act::Answer);
    let stores = ["first", "second", "live"].map(|name| {
        let dir = dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        store(&dir)
    });
    let [first, second, live] = &stores;
    // 1,000 USD a million tokens each way: 0.32 USD for the 320 tokens of an answer, 0.16 in a
    // batch.
    let price = ["--price-in", "1000", "--price-out", "1000"];
    let ran = succeed(batched(first, &server, &replies).args(price));
    let seen = server.seen();
    assert!(
        seen.values()
            .all(|seen| (seen.asked, seen.answered) == (1, 1)),
        "{seen:?}"
    );
    assert_eq!(kept(&replies).len(), seen.len());
    assert!(is_settled(&replies));
    let (usd, calls) = ledger(&replies);
    assert_eq!(calls, seen.len() as u64);
    assert!(
        (usd - 0.16 * calls as f64).abs() < 1e-6,
        "${usd} for {calls}"
    );
    assert_eq!(counter(first, "judge_calls"), calls);
    let n_made = server.batches().n_made();
    assert_eq!(
        n_made, 2,
        "the explanations of all SAEs, then the judgements"
    );
    assert_no_key(dir.path(), &[&ran.stdout, &ran.stderr]);

    let again = succeed(&mut batched(second, &server, &replies));
    assert_eq!(server.n_asked(), seen.len(), "{}", again.stderr);
    assert!(again.stderr.contains("judge: 0 calls"), "{}", again.stderr);
    assert_eq!(table(first), table(second));
    succeed(&mut paid(live, &server));
    assert_eq!(table(first), table(live));
}

/// Starts a run and kills host and worker once `is_so`.
fn killed_when(out: &Path, server: &Server, replies: &Path, is_so: impl Fn() -> bool) {
    let mut child = batched(out, server, replies)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait(&mut child, is_so);
    kill(&mut child);
}

#[test]
fn a_run_killed_while_it_submits_finds_its_batch_again() {
    for silence in [Silence::BeforeCreation, Silence::AfterCreation] {
        let dir = tempfile::tempdir().unwrap();
        let out = store(dir.path());
        let replies = dir.path().join("replies");
        let server = Server::start(|_, _| Act::Answer);
        server.batches().silence = Some(silence);
        killed_when(&out, &server, &replies, || server.batches().was_silent);
        assert!(
            !is_settled(&replies),
            "it was announced before it was submitted"
        );
        let n_before = server.batches().n_made();
        assert_eq!(n_before, usize::from(silence == Silence::AfterCreation));
        succeed(&mut batched(&out, &server, &replies));
        let seen = server.seen();
        assert!(
            seen.values()
                .all(|seen| (seen.asked, seen.answered) == (1, 1)),
            "{silence:?}: {seen:?}"
        );
        assert_eq!(kept(&replies).len(), seen.len());
        assert!(is_settled(&replies));
        // What was uploaded and not made into a batch costs nothing; it is uploaded again.
        let lost = usize::from(silence == Silence::BeforeCreation);
        let batches = server.batches();
        assert_eq!(batches.n_files, batches.n_made() + lost);
        assert_eq!(ledger(&replies).1, seen.len() as u64);
    }
}

/// The next run waits for the batch, also when it would ask question by question.
#[test]
fn a_run_killed_while_it_waits_goes_on_waiting() {
    for mode in ["batch", "live"] {
        let dir = tempfile::tempdir().unwrap();
        let out = store(dir.path());
        let replies = dir.path().join("replies");
        let server = Server::start(|_, _| Act::Answer);
        server.batches().is_running = true;
        let has_ticket =
            |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "ticket");
        killed_when(&out, &server, &replies, || {
            files(&replies.join("batches")).iter().any(has_ticket)
        });
        let n_asked = server.n_asked();
        assert!(n_asked > 0);
        server.batches().is_running = false;
        let folder = replies.display().to_string();
        let args = ["--judge-mode", mode, "--replies", &folder];
        succeed(paid(&out, &server).args(args));
        let seen = server.seen();
        assert!(
            seen.values()
                .all(|seen| (seen.asked, seen.answered) == (1, 1)),
            "{seen:?}"
        );
        assert!(is_settled(&replies));
        assert_eq!(ledger(&replies).1, seen.len() as u64);
    }
}

#[test]
fn what_an_expired_batch_left_open_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let replies = dir.path().join("replies");
    let server = Server::start(|_, _| Act::Answer);
    let n_lines = AtomicUsize::new(0);
    server.batches().ending = |number| if number == 0 { "expired" } else { "completed" };
    server.batches().line = Box::new(move |number, _| match number {
        // One answered, one of which nothing is said, the others told to be late.
        0 => match n_lines.fetch_add(1, Ordering::Relaxed) {
            0 => Line::Answer,
            1 => Line::Missing,
            _ => Line::Expired,
        },
        _ => Line::Answer,
    });
    let ran = run(&mut batched(&out, &server, &replies));
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert!(ran.stderr.contains("batch_expired"), "{}", ran.stderr);
    assert!(is_settled(&replies));
    let answered = server.n_answered();
    assert_eq!(kept(&replies).len(), answered);
    let n_lost = server
        .seen()
        .values()
        .filter(|seen| seen.answered == 0)
        .count();
    assert!(
        answered >= 1 && n_lost >= 2,
        "{answered} answered, {n_lost} lost"
    );
    succeed(&mut batched(&out, &server, &replies));
    let seen = server.seen();
    assert!(seen.values().all(|seen| seen.answered == 1), "{seen:?}");
    assert_eq!(seen.values().filter(|seen| seen.asked == 2).count(), n_lost);
    assert_eq!(kept(&replies).len(), seen.len());
}

#[test]
fn lines_that_fail_for_themselves_are_counted_apart() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let replies = dir.path().join("replies");
    let server = Server::start(|_, _| Act::Answer);
    let n_pairs = AtomicUsize::new(0);
    server.batches().line = Box::new(move |_, body| {
        if !body["messages"].to_string().contains("score_without") {
            return Line::Answer;
        }
        match n_pairs.fetch_add(1, Ordering::Relaxed) {
            0 => Line::Refuse,
            1 => Line::Content("no JSON at all"),
            2 => Line::Status(400),
            _ => Line::Answer,
        }
    });
    let ran = run(&mut batched(&out, &server, &replies));
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    assert_eq!(counter(&out, "judge_refused"), 1);
    assert_eq!(counter(&out, "judge_unusable"), 1);
    assert_eq!(counter(&out, "judge_failed"), 1);
    assert!(
        ran.stderr.contains("1 refused, 1 not usable, 1 failed"),
        "{}",
        ran.stderr
    );
    let seen = server.seen();
    assert!(seen.values().all(|seen| seen.asked == 1), "{seen:?}");
    assert_eq!(kept(&replies).len(), seen.len() - 3);
    assert!(is_settled(&replies));
    // Refusals and unusable answers of finished cells stay; of a cell that is open they are asked
    // for again with what is.
    succeed(&mut batched(&out, &server, &replies));
    let seen = server.seen();
    assert!(seen.values().all(|seen| seen.asked <= 2), "{seen:?}");
    let open = seen.values().filter(|seen| seen.answered == 0).count();
    assert!(open <= 2 && is_settled(&replies), "{seen:?}");
}

/// A batch is taken as a whole and its lines are looked at later: a field the server does not know
/// is refused in every line.
#[test]
fn a_field_that_a_server_does_not_take_is_learnt_from_a_batch() {
    const NO: &str = "Unsupported value: 'temperature' does not support 0.0 with this model.";
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let replies = dir.path().join("replies");
    let server = Server::start(|_, _| Act::Answer);
    server.batches().line = Box::new(|_, body| match body["temperature"].is_null() {
        true => Line::Answer,
        false => Line::Error(400, NO),
    });
    let ran = succeed(&mut batched(&out, &server, &replies));
    assert!(
        ran.stderr.contains("`temperature` is left out"),
        "{}",
        ran.stderr
    );
    // The explanations twice, and the judgements in the form that was learnt.
    assert_eq!(server.batches().n_made(), 3);
    assert!(server.seen().values().all(|seen| seen.answered == 1));
    assert_eq!(counter(&out, "judge_no_answer"), 0);
}

#[test]
fn budgets_hold_for_batches() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let replies = dir.path().join("replies");
    let server = Server::start(|_, _| Act::Answer);
    let ran = run(batched(&out, &server, &replies).args(["--max-calls", "7"]));
    assert_eq!(ran.code, 31, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("7 calls (--max-calls)"),
        "{}",
        ran.stderr
    );
    assert_eq!(server.n_asked(), 7);
    assert_eq!(kept(&replies).len(), 7);
    succeed(batched(&out, &server, &replies).args(["--max-calls", "100"]));
    assert!(server.seen().values().all(|seen| seen.asked == 1));
}

#[test]
fn a_wrong_key_and_an_empty_account_end_batches_too() {
    let wrong_key = || {
        let body = serde_json::json!({"error": {"message": format!("no: {CANARY}"), "code": "invalid_api_key"}});
        Server::start(move |_, _| Act::Status("401 Unauthorized", body.to_string()))
    };
    let empty = || {
        let server = Server::start(|_, _| Act::Answer);
        server.batches().ending = |_| "failed";
        server
    };
    for server in [wrong_key(), empty()] {
        let dir = tempfile::tempdir().unwrap();
        let out = store(dir.path());
        let replies = dir.path().join("replies");
        let ran = run(&mut batched(&out, &server, &replies));
        assert_eq!(ran.code, 30, "{}", ran.stderr);
        assert!(is_settled(&replies) && kept(&replies).is_empty());
        assert!(server.batches().n_made() <= 1);
        assert_eq!(ledger(&replies).0, 0.0);
        assert_no_key(&out, &[&ran.stdout, &ran.stderr]);
    }
}

/// Killed again and again, each time a little later after it has come further.
#[test]
fn runs_killed_at_any_moment_pay_once() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let replies = dir.path().join("replies");
    let server = Server::start(|_, _| Act::Answer);
    let mut n_killed = 0;
    for delay in [0, 2, 5, 10, 20, 40] {
        let state = || {
            (
                server.batches().n_files,
                server.n_answered(),
                kept(&replies).len(),
            )
        };
        let before = state();
        let mut child = batched(&out, &server, &replies)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The last steps take milliseconds: a run that was quicker than its end is through.
        let mut is_through = || child.try_wait().unwrap().is_some();
        while state() == before && !is_through() {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(delay));
        if is_through() {
            break;
        }
        kill(&mut child);
        n_killed += 1;
    }
    assert!(n_killed >= 2, "{n_killed} kills before the run was through");
    succeed(&mut batched(&out, &server, &replies));
    let seen = server.seen();
    assert!(
        seen.values()
            .all(|seen| (seen.asked, seen.answered) == (1, 1)),
        "{seen:?}"
    );
    assert_eq!(kept(&replies).len(), seen.len());
    assert!(
        is_settled(&replies),
        "{:?}",
        files(&replies.join("batches"))
    );
}

#[test]
fn batches_are_for_online_judges() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(crate::bench::small(dir.path()).args(["--judge-mode", "batch", "--dry-run"]));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("--judge-mode"), "{}", ran.stderr);
}
