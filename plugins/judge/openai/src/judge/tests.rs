//! The judge against a small server in this process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use harness_sdk::{JudgeTask, Message};
use serde_json::json;

use super::*;
use crate::settings::{API_KEY, BASE_URL};

const KEY: &str = "sk-test-0123456789";

/// What the server does with one connection.
pub enum Turn {
    /// Status line and further headers, body.
    Answer(&'static str, String),
    /// Reads the request and never answers.
    Hang,
    /// Closes the connection after the request.
    Close,
}

/// Serves one connection a turn and hands out the requests' bodies.
pub fn serve(turns: Vec<Turn>) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let (seen, requests) = channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for turn in turns {
            let Ok((mut stream, _)) = listener.accept() else {
                return;
            };
            let request = read_request(&stream);
            if seen.send(request).is_err() {
                return;
            }
            match turn {
                Turn::Answer(head, body) => {
                    let length = body.len();
                    let answer = format!(
                        "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                    );
                    let _ = stream.write_all(answer.as_bytes());
                }
                Turn::Hang => kept.push(stream),
                Turn::Close => {}
            }
        }
        // Hanging connections stay open until the test is over.
        thread::sleep(Duration::from_secs(5));
        drop(kept);
    });
    (address, requests)
}

/// The request's head and its body: JSON, or a text where it is none.
fn read_request(stream: &TcpStream) -> (String, Value) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        let lower = line.to_lowercase();
        if let Some(n) = lower.strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
        head.push_str(&lower);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let text = String::from_utf8(body).unwrap();
    let json = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (head, json)
}

pub fn chat(content: &str, finish_reason: &str) -> String {
    json!({
        "choices": [{"message": {"content": content}, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7},
    })
    .to_string()
}

pub fn good() -> Turn {
    Turn::Answer("200 OK", chat(r#"{"explanation": "boats"}"#, "stop"))
}

pub fn judge(base_url: &str) -> OpenAi {
    let config = json!({"timeout_s": 0.4, "backoff_s": 0.01, "attempts": 3});
    let env = |name: &str| match name {
        API_KEY => Some(KEY.to_owned()),
        BASE_URL => Some(base_url.to_owned()),
        _ => None,
    };
    OpenAi::with_env(&config, env).unwrap()
}

pub fn request(id: &str) -> JudgeRequest {
    JudgeRequest {
        id: id.to_owned(),
        task: JudgeTask::EXPLAIN,
        payload: json!({}),
        messages: vec![Message {
            role: "user".to_owned(),
            content: "explain, as JSON".to_owned(),
        }],
        max_tokens: 128,
        temperature: 0.0,
    }
}

/// One request against the turns: its result, and the number of requests the server saw.
fn ask(turns: Vec<Turn>) -> (Result<Result<JudgeReply>>, Vec<(String, Value)>) {
    let (address, seen) = serve(turns);
    let result = judge(&address)
        .complete(&[request("r")], 2)
        .map(|mut replies| replies.remove(0));
    (result, seen.try_iter().collect())
}

#[test]
fn an_answer_is_read_with_its_cost() {
    let (result, seen) = ask(vec![good()]);
    let reply = result.unwrap().unwrap();
    assert_eq!(reply.id, "r");
    assert_eq!(reply.text, r#"{"explanation":"boats"}"#);
    assert_eq!((reply.tokens_in, reply.tokens_out), (11, 7));
    let (head, body) = &seen[0];
    assert!(head.starts_with("post /v1/chat/completions"));
    assert!(head.contains(&format!("authorization: bearer {KEY}")));
    assert_eq!(body["model"], "gpt-4o-mini");
    assert_eq!(body["response_format"]["type"], "json_schema");
    assert_eq!(body["max_completion_tokens"], 128);
}

#[test]
fn a_429_is_waited_for_as_long_as_asked() {
    let html = "<html>slow down</html>".to_owned();
    let started = Instant::now();
    let (result, seen) = ask(vec![
        Turn::Answer("429 Too Many Requests\r\nretry-after: 0.3", html),
        good(),
    ]);
    assert!(result.unwrap().is_ok());
    assert_eq!(seen.len(), 2);
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_long_wait_is_handed_to_the_host() {
    let (result, seen) = ask(vec![Turn::Answer(
        "429 Too Many Requests\r\nretry-after-ms: 90000",
        "{}".to_owned(),
    )]);
    let error = result.unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::RATE_LIMITED);
    assert_eq!(seen.len(), 1);
}

fn error_turn(head: &'static str, code: &str, message: &str) -> Turn {
    let body = json!({"error": {"message": message, "code": code}});
    Turn::Answer(head, body.to_string())
}

#[test]
fn what_concerns_every_question_stops_everything_at_once() {
    let no = format!("no: {KEY}");
    for (head, code, message, want) in [
        ("401 Unauthorized", "invalid_api_key", &*no, ErrorCode::AUTH),
        (
            "402 Payment Required",
            "invalid_request_error",
            &no,
            ErrorCode::AUTH,
        ),
        ("403 Forbidden", "forbidden", &no, ErrorCode::AUTH),
        (
            "429 Too Many Requests",
            "insufficient_quota",
            &no,
            ErrorCode::AUTH,
        ),
        (
            "404 Not Found",
            "model_not_found",
            "no such model",
            ErrorCode::CONFIG,
        ),
        ("405 Method Not Allowed", "", &no, ErrorCode::CONFIG),
        ("200 OK", "402", &no, ErrorCode::AUTH),
    ] {
        let turns = vec![error_turn(head, code, message), good()];
        let (address, seen) = serve(turns);
        let requests = ["a", "b", "c"].map(request);
        let error = judge(&address).complete(&requests, 16).unwrap_err();
        assert_eq!(error.code(), want, "{head}");
        assert!(!error.message().contains(KEY), "{}", error.message());
        let names_key = error.message().contains("OPENAI_API_KEY");
        assert_eq!(names_key, want == ErrorCode::AUTH, "{}", error.message());
        // The first question goes alone, and is not asked again.
        assert_eq!(seen.try_iter().count(), 1, "{head}");
    }
}

#[test]
fn what_concerns_one_question_fails_it_alone() {
    for (head, code, want) in [
        ("400 Bad Request", "content_filter", ErrorCode::FILTERED),
        (
            "400 Bad Request",
            "context_length_exceeded",
            ErrorCode::TOO_LONG,
        ),
        ("413 Content Too Large", "", ErrorCode::TOO_LONG),
    ] {
        let (address, seen) = serve(vec![error_turn(head, code, "no"), good()]);
        let requests = ["a", "b"].map(request);
        let replies = judge(&address).complete(&requests, 1).unwrap();
        assert_eq!(
            replies[0].as_ref().unwrap_err().code(),
            want,
            "{head} {code}"
        );
        assert!(replies[1].is_ok());
        assert_eq!(seen.try_iter().count(), 2);
    }
}

/// A client error that says nothing of whose it is.
#[test]
fn an_unclear_error_is_settled_by_another_question() {
    let unclear = || error_turn("400 Bad Request", "", "no");
    let asked = |turns: Vec<Turn>| {
        let n = turns.len();
        let (address, seen) = serve(turns);
        let requests = ["a", "b", "c"].map(request);
        let result = judge(&address).complete(&requests[..n.min(3)], 16);
        (result, seen.try_iter().count())
    };
    let (result, n) = asked(vec![unclear(), good(), good()]);
    let codes = |replies: &[Result<JudgeReply>]| -> Vec<Option<ErrorCode>> {
        let of = |reply: &Result<JudgeReply>| reply.as_ref().err().map(Error::code);
        replies.iter().map(of).collect()
    };
    let own = Some(ErrorCode::INVALID_ARGUMENT);
    assert_eq!((codes(&result.unwrap()), n), (vec![own, None, None], 3));
    let (result, n) = asked(vec![unclear(), unclear(), good()]);
    assert_eq!(
        (result.unwrap_err().code(), n),
        (ErrorCode::INVALID_ARGUMENT, 2)
    );
    let (result, n) = asked(vec![unclear()]);
    assert_eq!((codes(&result.unwrap()), n), (vec![own], 1));
}

#[test]
fn a_server_that_is_down_ends_the_batch() {
    let down = || Turn::Answer("503 Service Unavailable", "{}".to_owned());
    // Three attempts at the first question, two at the second.
    let (address, seen) = serve((0..9).map(|_| down()).collect());
    let requests = ["a", "b", "c", "d"].map(request);
    let error = judge(&address).complete(&requests, 16).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NETWORK);
    assert!(
        error.message().contains("2 questions in a row"),
        "{}",
        error.message()
    );
    assert_eq!(seen.try_iter().count(), 5);

    // Nobody listens: the first question tells.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", closed.local_addr().unwrap());
    drop(closed);
    let error = judge(&address).complete(&requests, 16).unwrap_err();
    assert!(
        error.message().contains("cannot be reached"),
        "{}",
        error.message()
    );
}

#[test]
fn fields_a_server_does_not_take_are_learnt_once() {
    let no = |field: &str| {
        let message = format!("Unsupported parameter: '{field}' is not supported with this model.");
        let body =
            json!({"error": {"message": message, "param": field, "code": "unsupported_parameter"}});
        Turn::Answer("400 Bad Request", body.to_string())
    };
    let extra = json!({"detail": [{"loc": ["body", "max_completion_tokens"], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}]});
    let turns = vec![
        no("temperature"),
        Turn::Answer("422 Unprocessable Entity", extra.to_string()),
        good(),
        good(),
        good(),
    ];
    let (address, seen) = serve(turns);
    let mut judge = judge(&address);
    assert!(judge.learnt().is_empty());
    let replies = judge.complete(&["a", "b", "c"].map(request), 2).unwrap();
    assert!(replies.iter().all(|reply| reply.is_ok()));
    let bodies: Vec<Value> = seen.try_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies.len(), 5);
    let fields = |body: &Value| {
        let has = |field: &str| !body[field].is_null();
        [
            has("temperature"),
            has("max_completion_tokens"),
            has("max_tokens"),
        ]
    };
    assert_eq!(fields(&bodies[0]), [true, true, false]);
    assert_eq!(fields(&bodies[1]), [false, true, false]);
    for body in &bodies[2..] {
        assert_eq!(fields(body), [false, false, true]);
        assert_eq!(body["max_tokens"], 128);
    }
    let learnt = judge.learnt();
    assert_eq!(learnt.len(), 2, "{learnt:?}");
    assert!(
        learnt[0].contains("`temperature` is left out"),
        "{learnt:?}"
    );

    // A field that cannot be done without, and one that is not ours, end the batch.
    for field in ["max_tokens", "user"] {
        let (address, _seen) = serve(vec![no("max_completion_tokens"), no(field)]);
        let error = super::tests::judge(&address)
            .complete(&[request("a")], 1)
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::CONFIG, "{field}");
    }
}

#[test]
fn a_hanging_server_is_given_up() {
    let (result, seen) = ask(vec![Turn::Hang, Turn::Hang, Turn::Hang]);
    let error = result.unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::NETWORK);
    assert!(error.message().contains("0.4 s after 3 attempts"));
    assert_eq!(seen.len(), 3);
}

#[test]
fn broken_connections_server_errors_and_bad_json_are_tried_again() {
    for turn in [
        Turn::Close,
        Turn::Answer("500 Internal Server Error", "oops".to_owned()),
        Turn::Answer("200 OK", "<html>".to_owned()),
        Turn::Answer("200 OK", chat("I think it is boats", "stop")),
        Turn::Answer("200 OK", chat(r#"{"wrong": 1}"#, "stop")),
    ] {
        let (result, seen) = ask(vec![turn, good()]);
        assert!(result.unwrap().is_ok());
        assert_eq!(seen.len(), 2);
    }
}

#[test]
fn a_cut_answer_gets_twice_the_tokens() {
    let cut = Turn::Answer("200 OK", chat(r#"{"explanation": "bo"#, "length"));
    let (result, seen) = ask(vec![cut, good()]);
    assert!(result.unwrap().is_ok());
    assert_eq!(seen[1].1["max_completion_tokens"], 256);
}

#[test]
fn a_fenced_answer_is_unwrapped_and_a_refusal_is_final() {
    let fenced = chat("```json\n{\"explanation\": \"boats\"}\n```", "stop");
    let (result, _) = ask(vec![Turn::Answer("200 OK", fenced)]);
    assert_eq!(result.unwrap().unwrap().text, r#"{"explanation":"boats"}"#);
    let refusal = json!({"choices": [{"message": {"content": null, "refusal": "no"}}]});
    let (result, seen) = ask(vec![Turn::Answer("200 OK", refusal.to_string()), good()]);
    assert!(result.unwrap().is_err());
    assert_eq!(seen.len(), 1);
}

#[test]
fn a_failed_request_does_not_fail_the_others_and_order_is_kept() {
    let bad = || {
        Turn::Answer(
            "400 Bad Request",
            r#"{"error": {"message": "no"}}"#.to_owned(),
        )
    };
    let (address, _seen) = serve(vec![good(), bad(), good()]);
    let requests = ["a", "b", "c"].map(request);
    let replies = judge(&address).complete(&requests, 1).unwrap();
    assert_eq!(replies.len(), 3);
    let failed = replies.iter().filter(|reply| reply.is_err()).count();
    assert_eq!(failed, 1);
    for (reply, id) in replies.iter().zip(["a", "b", "c"]) {
        if let Ok(reply) = reply {
            assert_eq!(reply.id, id);
        }
    }
}

#[test]
fn without_a_key_nothing_is_sent() {
    let mut judge = OpenAi::with_env(&json!({}), |_| None).unwrap();
    assert!(judge.identity().is_ok());
    let error = judge.complete(&[request("r")], 1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::AUTH);
    assert!(judge.complete(&[], 1).unwrap().is_empty());
}

#[test]
fn a_server_without_schemas_is_asked_for_json_and_then_by_the_prompt_alone() {
    let no = |what: &str| {
        let body =
            json!({"error": {"message": format!("response_format {what} is not supported")}});
        Turn::Answer("400 Bad Request", body.to_string())
    };
    let (address, seen) = serve(vec![no("json_schema"), no("json_object"), good(), good()]);
    let mut judge = judge(&address);
    for _ in 0..2 {
        let reply = judge.complete(&[request("r")], 1).unwrap().remove(0);
        assert!(reply.is_ok());
    }
    let formats: Vec<Value> = seen
        .try_iter()
        .map(|(_, body)| body["response_format"]["type"].clone())
        .collect();
    assert_eq!(
        formats,
        [
            json!("json_schema"),
            json!("json_object"),
            Value::Null,
            Value::Null
        ]
    );
}

#[test]
fn an_answer_is_paid_for_twice_at_most_and_all_of_it_is_counted() {
    let wrong = || Turn::Answer("200 OK", chat(r#"{"wrong": 1}"#, "stop"));
    let (result, seen) = ask(vec![wrong(), good()]);
    let reply = result.unwrap().unwrap();
    assert_eq!((reply.tokens_in, reply.tokens_out), (22, 14));
    assert_eq!(seen.len(), 2);
    let (result, seen) = ask(vec![wrong(), wrong(), good()]);
    assert_eq!(result.unwrap().unwrap_err().code(), ErrorCode::UNUSABLE);
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_refusal_is_told_apart() {
    let refusal = json!({"choices": [{"message": {"content": null, "refusal": "no"}}]});
    let (result, _) = ask(vec![Turn::Answer("200 OK", refusal.to_string())]);
    assert_eq!(result.unwrap().unwrap_err().code(), ErrorCode::REFUSED);
    let filtered =
        json!({"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]});
    let (result, _) = ask(vec![Turn::Answer("200 OK", filtered.to_string())]);
    assert_eq!(result.unwrap().unwrap_err().code(), ErrorCode::FILTERED);
}

#[test]
fn a_server_that_says_not_to_try_again_is_believed() {
    let head = "503 Service Unavailable\r\nx-should-retry: false";
    let (result, seen) = ask(vec![Turn::Answer(head, "{}".to_owned()), good()]);
    assert_eq!(result.unwrap().unwrap_err().code(), ErrorCode::NETWORK);
    assert_eq!(seen.len(), 1);
}

#[test]
fn a_request_ends_when_its_time_is_up() {
    let (address, seen) = serve(vec![Turn::Hang, Turn::Hang, Turn::Hang]);
    let mut judge = judge(&address);
    let mut settings = (*judge.settings).clone();
    settings.total = Duration::from_millis(500);
    judge.settings = Arc::new(settings);
    let reply = judge.complete(&[request("r")], 1).unwrap().remove(0);
    assert_eq!(reply.unwrap_err().code(), ErrorCode::NETWORK);
    assert!(seen.try_iter().count() <= 2);
}

/// Each reply is there before the next request is answered, and a break sends nothing further.
#[test]
fn replies_are_handed_over_as_they_come() {
    let (address, seen) = serve((0..4).map(|_| good()).collect());
    let requests = ["a", "b", "c", "d"].map(request);
    let mut sent_at_reply = Vec::new();
    let mut n_sent = 0;
    judge(&address)
        .complete_each(&requests, 1, &mut |i, reply| {
            assert!(reply.is_ok());
            n_sent += seen.try_iter().count();
            sent_at_reply.push((i, n_sent));
            match i {
                2 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })
        .unwrap();
    assert_eq!(sent_at_reply, [(0, 1), (1, 2), (2, 3)]);
    assert_eq!(seen.try_iter().count(), 0);
}

/// What is under way when the account is empty may be paid for: it is waited for and handed over.
#[test]
fn the_end_of_the_quota_loses_no_reply() {
    let quota =
        json!({"error": {"message": "no credit", "code": "insufficient_quota"}}).to_string();
    let (address, _seen) = serve(vec![
        good(),
        Turn::Answer("429 Too Many Requests", quota),
        good(),
        good(),
    ]);
    let requests = ["a", "b", "c", "d", "e"].map(request);
    let mut n = 0;
    let error = judge(&address)
        .complete_each(&requests, 3, &mut |_, reply| {
            n += usize::from(reply.is_ok());
            ControlFlow::Continue(())
        })
        .unwrap_err();
    assert_eq!((error.code(), n), (ErrorCode::AUTH, 3));
}

#[test]
fn what_a_server_counts_does_not_overflow() {
    let answer = json!({
        "choices": [{"message": {"content": r#"{"explanation": "boats"}"#}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": u64::MAX, "completion_tokens": u64::MAX},
    });
    let reply = crate::answer::read(&answer, &request("r")).unwrap();
    let sum = reply.tokens_in.checked_add(reply.tokens_out);
    assert!(sum.is_some_and(|sum| sum.checked_mul(1 << 20).is_some()));
}
