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

/// A server that stays down leaves the cells open: what was answered is kept, and the same command asks for the rest.
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
