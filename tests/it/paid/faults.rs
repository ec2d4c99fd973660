//! A server that fails in every way: each question that can be answered is answered once.

use std::time::Duration;

use super::{
    CANARY, MOST_QUESTIONS, assert_no_key, counter, kept, paid, server::Act, server::Server, store,
};
use crate::support::{run, succeed};

/// What the first asking of each of the first questions meets; the second is answered.
fn passing_faults() -> Vec<Act> {
    let status = |head, text: &str| Act::Status(head, text.to_owned());
    vec![
        status("429 Too Many Requests\r\nretry-after: 0.3", "{}"),
        status("429 Too Many Requests\r\nretry-after-ms: 120", "{}"),
        status("429 Too Many Requests", "<html>slow down</html>"),
        status("500 Internal Server Error", "oops"),
        status("400 Bad Request\r\nx-should-retry: true", "{}"),
        Act::Cut,
        Act::Close,
        Act::Content("no JSON at all"),
        Act::Content(r#"{"wrong": 1}"#),
        status("200 OK", "<html>"),
        Act::Hang,
    ]
}

#[test]
fn every_answerable_question_is_answered_once() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let faults = passing_faults();
    let n_faults = faults.len();
    let server = Server::start(move |number, before| match faults.get(number) {
        Some(fault) if before == 0 => fault.clone(),
        _ => Act::Answer,
    });
    let ran = succeed(paid(&out, &server).args(["--workers", "2"]));
    let seen = server.seen();
    assert!(
        (20..=MOST_QUESTIONS).contains(&seen.len()),
        "{}",
        seen.len()
    );
    assert!(seen.values().all(|seen| seen.answered == 1), "{seen:?}");
    let again = seen.values().filter(|seen| seen.asked == 2).count();
    assert_eq!(again, n_faults, "{seen:?}");
    assert_eq!(kept(&out.join("replies")).len(), seen.len());
    assert_eq!(counter(&out, "judge_calls"), seen.len() as u64);
    assert!(ran.stderr.contains("judge: "), "{}", ran.stderr);
    assert_no_key(&out, &[&ran.stdout, &ran.stderr]);
}

#[test]
fn refusals_and_wrong_answers_are_counted_apart_and_the_rest_is_judged() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let server = Server::start(|number, _| match number {
        13 => Act::Refuse,
        14 => Act::Content(r#"{"score_without": "high"}"#),
        _ => Act::Answer,
    });
    let ran = succeed(&mut paid(&out, &server));
    assert_eq!(counter(&out, "judge_refused"), 1);
    assert_eq!(counter(&out, "judge_unusable"), 1);
    assert_eq!(counter(&out, "judge_failed"), 0);
    assert!(
        ran.stderr.contains("1 refused, 1 not usable"),
        "{}",
        ran.stderr
    );
    let unanswered = server.seen().values().filter(|s| s.answered == 0).count();
    assert_eq!(unanswered, 2);
}

/// A server that stays down leaves the cells open: what was answered is kept, and the same command
/// asks for the rest.
#[test]
fn a_fault_that_stays_does_not_become_a_missing_value() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let replies = dir.path().join("replies");
    let down = || {
        Act::Status(
            "503 Service Unavailable\r\nx-should-retry: false",
            "{}".into(),
        )
    };
    let server = Server::start(move |number, before| match number {
        3 if before == 0 => down(),
        _ => Act::Answer,
    });
    let folder = replies.display().to_string();
    let ran = run(paid(&out, &server).args(["--replies", &folder]));
    assert_eq!(ran.code, 5, "{}", ran.stderr);
    let n_kept = kept(&replies).len();
    assert!(n_kept > 0 && n_kept < server.seen().len(), "{n_kept}");
    succeed(paid(&out, &server).args(["--replies", &folder]));
    assert!(server.seen().values().all(|seen| seen.answered == 1));
}

#[test]
fn a_wrong_key_and_an_empty_account_end_the_run_at_once() {
    for (head, code) in [
        ("401 Unauthorized", "invalid_api_key"),
        ("429 Too Many Requests", "insufficient_quota"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let out = store(dir.path());
        let body = serde_json::json!({"error": {"message": format!("no: {CANARY}"), "code": code}});
        let server = Server::start(move |_, _| {
            // Long enough that those under way are seen to be no more than may be.
            std::thread::sleep(Duration::from_millis(50));
            Act::Status(head, body.to_string())
        });
        let ran = run(paid(&out, &server).args(["--workers", "1"]));
        assert_eq!(ran.code, 30, "{}", ran.stderr);
        assert!(ran.stderr.contains("OPENAI_API_KEY"), "{}", ran.stderr);
        assert!(server.n_asked() <= 16, "{}", server.n_asked());
        assert!(kept(&out.join("replies")).is_empty());
        assert_no_key(&out, &[&ran.stdout, &ran.stderr]);
    }
}

/// An error of the account met by one worker: the answers that another is waiting for are paid for,
/// and kept.
#[test]
fn an_error_of_the_account_loses_no_answer_of_another_worker() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let quota = r#"{"error": {"message": "no credit", "code": "insufficient_quota"}}"#;
    let server = Server::start(move |number, _| match number {
        13 => Act::Status("429 Too Many Requests", quota.to_owned()),
        // Long enough that the other worker has questions under way when this one fails.
        _ => Act::Slow(Duration::from_millis(300)),
    });
    let ran = run(paid(&out, &server).args(["--workers", "2"]));
    assert_eq!(ran.code, 30, "{}", ran.stderr);
    let n_answered = server.seen().values().filter(|s| s.answered == 1).count();
    assert!(n_answered > 13, "{n_answered}");
    assert_eq!(kept(&out.join("replies")).len(), n_answered);
}

/// What comes of one question that meets one fault.
enum Fate {
    /// It is answered at the second asking, no sooner than after these milliseconds.
    Answered(u64),
    /// It is a missing value, counted here, after so many askings. The run ends with this code: an
    /// answer that is none is final, and what the server did is asked for again.
    Counted(&'static str, usize, i32),
    /// The run ends with code 30.
    Ends,
}

/// Each fault alone, met by one question of an otherwise good server.
#[test]
fn every_fault_has_its_documented_end() {
    use Fate::{Answered, Counted, Ends};
    let status = |head, text: &str| Act::Status(head, text.to_owned());
    let quota = r#"{"error": {"message": "no credit", "code": "insufficient_quota"}}"#;
    let key = r#"{"error": {"message": "wrong key", "code": "invalid_api_key"}}"#;
    let filter = r#"{"error": {"message": "filtered", "code": "content_filter"}}"#;
    let slow = "<html>slow down</html>";
    let wrong = r#"{"score_without": "high", "score_after": 3}"#;
    // Name, what the server does first, whether it goes on doing it, what follows.
    let table = [
        ("hang", Act::Hang, false, Answered(3000)),
        (
            "429, seconds",
            status("429 Too Many Requests\r\nretry-after: 0.7", "{}"),
            false,
            Answered(700),
        ),
        (
            "429, milliseconds",
            status("429 Too Many Requests\r\nretry-after-ms: 450", "{}"),
            false,
            Answered(450),
        ),
        (
            "429, HTML",
            status("429 Too Many Requests", slow),
            false,
            Answered(0),
        ),
        (
            "500",
            status("500 Internal Server Error", "oops"),
            false,
            Answered(0),
        ),
        ("cut body", Act::Cut, false, Answered(0)),
        ("closed connection", Act::Close, false, Answered(0)),
        (
            "no JSON at all",
            status("200 OK", "<html>"),
            false,
            Answered(0),
        ),
        ("bad JSON once", Act::Content("no JSON"), false, Answered(0)),
        (
            "bad JSON always",
            Act::Content("no JSON"),
            true,
            Counted("judge_unusable", 2, 0),
        ),
        ("wrong schema once", Act::Content(wrong), false, Answered(0)),
        (
            "wrong schema always",
            Act::Content(wrong),
            true,
            Counted("judge_unusable", 2, 0),
        ),
        ("refusal", Act::Refuse, true, Counted("judge_refused", 1, 0)),
        (
            "400",
            status("400 Bad Request", "{}"),
            true,
            Counted("judge_failed", 1, 5),
        ),
        (
            "content filter",
            status("400 Bad Request", filter),
            true,
            Counted("judge_filtered", 1, 5),
        ),
        (
            "too long",
            status("413 Content Too Large", "{}"),
            true,
            Counted("judge_too_long", 1, 5),
        ),
        (
            "insufficient quota",
            status("429 Too Many Requests", quota),
            true,
            Ends,
        ),
        ("401", status("401 Unauthorized", key), true, Ends),
    ];
    for (name, fault, is_lasting, fate) in table {
        let dir = tempfile::tempdir().unwrap();
        let out = store(dir.path());
        // A pair of texts: all explanations have come before it.
        const STRUCK: usize = 13;
        let server = Server::start(move |number, before| match number {
            STRUCK if before == 0 || is_lasting => fault.clone(),
            _ => Act::Answer,
        });
        let ran = run(&mut paid(&out, &server));
        let seen = server.seen();
        let struck = server.asked_as(STRUCK);
        let n_others = seen.values().filter(|seen| seen.answered == 1).count();
        let n_kept = kept(&out.join("replies")).len();
        assert!(
            seen.values().all(|seen| seen.answered <= 1),
            "{name}: {seen:?}"
        );
        assert_eq!(n_kept, n_others, "{name}: each answer is kept");
        match fate {
            Answered(milliseconds) => {
                assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
                assert_eq!((struck.asked, struck.answered), (2, 1), "{name}");
                let waited = struck.at[1] - struck.at[0];
                assert!(
                    waited >= Duration::from_millis(milliseconds),
                    "{name}: {waited:?}"
                );
                assert_eq!(n_others, seen.len(), "{name}");
            }
            Counted(counted, n_asked, code) => {
                assert_eq!(ran.code, code, "{name}: {}", ran.stderr);
                assert_eq!((struck.asked, struck.answered), (n_asked, 0), "{name}");
                assert_eq!(counter(&out, counted), 1, "{name}");
                assert_eq!(n_others, seen.len() - 1, "{name}");
            }
            Ends => {
                assert_eq!(ran.code, 30, "{name}: {}", ran.stderr);
                assert_eq!((struck.asked, struck.answered), (1, 0), "{name}");
                assert!(
                    ran.stderr.contains("OPENAI_API_KEY"),
                    "{name}: {}",
                    ran.stderr
                );
            }
        }
        assert_no_key(&out, &[&ran.stdout, &ran.stderr]);
    }
}

/// The judge stays between the cells of a worker, with its connections.
#[test]
fn no_more_questions_are_under_way_than_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path());
    let server = Server::start(|_, _| Act::Slow(Duration::from_millis(5)));
    succeed(paid(&out, &server).args(["--judge-concurrency", "1", "--workers", "1"]));
    assert_eq!(server.n_most(), 1);
    assert!(server.n_asked() > 20);
    assert!(
        server.n_connections() <= 2,
        "{} connections",
        server.n_connections()
    );
}
