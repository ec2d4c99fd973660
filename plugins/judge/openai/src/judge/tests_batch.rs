//! Batches against a small server in this process.

use serde_json::json;

use super::{tests::*, *};

fn made() -> Turn {
    Turn::Answer("200 OK", json!({"id": "batch_1"}).to_string())
}

fn file() -> Turn {
    Turn::Answer("200 OK", json!({"id": "file-1"}).to_string())
}

fn json_turn(value: Value) -> Turn {
    Turn::Answer("200 OK", value.to_string())
}

/// A line of a file of answers.
fn line(id: &str, status: u16, body: Value) -> String {
    let line =
        json!({"custom_id": id, "response": {"status_code": status, "body": body}, "error": null});
    format!("{line}\n")
}

fn completion(content: &str) -> Value {
    serde_json::from_str(&chat(content, "stop")).unwrap()
}

/// The replies of a poll, by number, and whether the batch has ended.
fn poll(turns: Vec<Turn>, ids: &[&str]) -> (Vec<(usize, Result<JudgeReply>)>, bool) {
    let (address, _seen) = serve(turns);
    let requests: Vec<JudgeRequest> = ids.iter().map(|id| request(id)).collect();
    let mut replies = Vec::new();
    let progress = judge(&address)
        .poll("batch_1", &requests, &mut |i, reply| {
            replies.push((i, reply));
            ControlFlow::Continue(())
        })
        .unwrap();
    (replies, progress.is_ended)
}

#[test]
fn a_batch_is_a_file_and_its_tag() {
    let (address, seen) = serve(vec![file(), made()]);
    let requests = ["a", "b"].map(request);
    let ticket = judge(&address).submit(&requests, "tag-1").unwrap();
    assert_eq!(ticket, "batch_1");
    let (head, form) = seen.recv().unwrap();
    assert!(head.starts_with("post /v1/files"), "{head}");
    let form = form.as_str().unwrap();
    assert!(form.contains("name=\"purpose\"\r\n\r\nbatch\r\n"), "{form}");
    let lines: Vec<Value> = form
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["custom_id"], "b");
    assert_eq!(lines[1]["url"], "/v1/chat/completions");
    assert_eq!(lines[1]["body"]["model"], "gpt-4o-mini");
    assert_eq!(lines[1]["body"]["max_completion_tokens"], 128);
    let (head, batch) = seen.recv().unwrap();
    assert!(head.starts_with("post /v1/batches"), "{head}");
    assert_eq!(batch["input_file_id"], "file-1");
    assert_eq!(batch["metadata"]["harness_batch"], "tag-1");
    assert_eq!(batch["completion_window"], "24h");
}

/// An answer that is lost on the way must not make a second batch.
#[test]
fn a_batch_that_may_have_been_made_is_looked_for_first() {
    let listed = json!({"data": [
        {"id": "batch_0", "metadata": null},
        {"id": "batch_9", "metadata": {"harness_batch": "tag-1"}},
    ], "has_more": false});
    let (address, seen) = serve(vec![file(), Turn::Close, json_turn(listed)]);
    let ticket = judge(&address).submit(&[request("a")], "tag-1").unwrap();
    assert_eq!(ticket, "batch_9");
    assert_eq!(seen.try_iter().count(), 3);
    let nothing = json!({"data": [], "has_more": false});
    let (address, seen) = serve(vec![file(), Turn::Close, json_turn(nothing), made()]);
    let ticket = judge(&address).submit(&[request("a")], "tag-1").unwrap();
    assert_eq!((ticket.as_str(), seen.try_iter().count()), ("batch_1", 4));
}

#[test]
fn tags_are_looked_for_on_every_page() {
    let page = |id: &str, tag: &str, more: bool| {
        json_turn(
            json!({"data": [{"id": id, "metadata": {"harness_batch": tag}}], "has_more": more}),
        )
    };
    let (address, seen) = serve(vec![page("b1", "x", true), page("b2", "y", false)]);
    let mut found = judge(&address);
    assert_eq!(found.find("y").unwrap().as_deref(), Some("b2"));
    let heads: Vec<String> = seen.try_iter().map(|(head, _)| head).collect();
    assert!(
        heads[1].starts_with("get /v1/batches?limit=100&after=b1"),
        "{heads:?}"
    );
    let (address, _seen) = serve(vec![page("b1", "x", false)]);
    assert_eq!(judge(&address).find("y").unwrap(), None);
}

#[test]
fn a_running_batch_hands_over_nothing() {
    let running = json!({"status": "in_progress", "request_counts": {"total": 2, "completed": 1, "failed": 0}});
    let (replies, is_ended) = poll(vec![json_turn(running)], &["a", "b"]);
    assert!(replies.is_empty() && !is_ended);
}

#[test]
fn each_line_becomes_a_reply_or_an_error_of_its_own() {
    let ended = json!({"status": "completed", "output_file_id": "out", "error_file_id": "err"});
    let output = [
        line("b", 200, completion(r#"{"explanation": "boats"}"#)),
        line("c", 200, completion("no JSON")),
        line(
            "d",
            200,
            json!({"choices": [{"message": {"refusal": "no"}}]}),
        ),
        "half a line".to_owned(),
    ]
    .concat();
    let errors = [
        line("a", 400, json!({"error": {"code": "bad", "message": "too long"}})),
        line("f", 401, json!({"error": {"code": "invalid_api_key", "message": "no"}})),
        line("g", 500, json!({"error": {"message": "oops"}})),
        json!({"custom_id": "e", "response": null, "error": {"code": "batch_expired", "message": "late"}})
            .to_string(),
    ]
    .concat();
    let turns = vec![
        json_turn(ended),
        Turn::Answer("200 OK", output),
        Turn::Answer("200 OK", errors),
    ];
    let (replies, is_ended) = poll(turns, &["a", "b", "c", "d", "e", "f", "g", "h"]);
    assert!(is_ended);
    let codes: Vec<Option<ErrorCode>> = replies
        .iter()
        .map(|(_, reply)| reply.as_ref().err().map(Error::code))
        .collect();
    let expected = [
        Some(ErrorCode::INVALID_ARGUMENT),
        None,
        Some(ErrorCode::UNUSABLE),
        Some(ErrorCode::REFUSED),
        Some(ErrorCode::NETWORK),
        Some(ErrorCode::AUTH),
        Some(ErrorCode::NETWORK),
        Some(ErrorCode::NETWORK),
    ];
    assert_eq!(codes, expected);
    let reply = replies[1].1.as_ref().unwrap();
    assert_eq!((reply.tokens_in, reply.tokens_out), (11, 7));
    assert_eq!(reply.text, r#"{"explanation":"boats"}"#);
}

#[test]
fn a_batch_that_failed_says_why() {
    for (code, expected) in [
        ("token_limit_exceeded", ErrorCode::NETWORK),
        ("billing_hard_limit_reached", ErrorCode::AUTH),
    ] {
        let failed =
            json!({"status": "failed", "errors": {"data": [{"code": code, "message": "m"}]}});
        let (replies, is_ended) = poll(vec![json_turn(failed)], &["a"]);
        assert!(is_ended);
        let error = replies[0].1.as_ref().unwrap_err();
        assert_eq!(error.code(), expected);
        assert!(error.message().contains(code), "{}", error.message());
    }
}

#[test]
fn odd_ids_are_refused_and_an_unknown_batch_is_an_error() {
    let (address, _seen) = serve(vec![file(), json_turn(json!({"id": "../models"}))]);
    let error = judge(&address).submit(&[request("a")], "t").unwrap_err();
    assert!(error.message().contains("is no id"), "{}", error.message());
    let unknown = Turn::Answer(
        "404 Not Found",
        r#"{"error": {"message": "no batch"}}"#.into(),
    );
    let (address, _seen) = serve(vec![unknown]);
    let polled = judge(&address).poll("batch_1", &[request("a")], &mut |_, _| {
        panic!("nothing to hand over")
    });
    let error = polled.unwrap_err();
    assert_eq!(error.code(), ErrorCode::CONFIG);
    assert!(error.message().contains("knows no batch batch_1"));
}

/// What one call has learnt of the server's pace holds in the next.
#[test]
fn the_pace_is_kept_between_calls() {
    let slow = || {
        Turn::Answer(
            "429 Too Many Requests\r\nretry-after-ms: 1",
            "{}".to_owned(),
        )
    };
    let (address, _seen) = serve(vec![slow(), slow(), good(), good()]);
    let mut judge = judge(&address);
    for id in ["a", "b"] {
        assert!(judge.complete(&[request(id)], 16).unwrap()[0].is_ok());
    }
    let limit = judge.line.as_ref().unwrap().pace.lock().unwrap().limit();
    assert!((4..16).contains(&limit), "{limit}");
}
