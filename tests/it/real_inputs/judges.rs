//! Judges that fail, and come back: no failure becomes a score, and after the cure the table is
//! that of a run nothing happened to.
//!
//! One SAE with two features: two explanations, then four judgements of pairs. The texts come from
//! the store of the other tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use serde_json::json;

use crate::{
    bench::{copy_of_reference, small},
    paid::{
        counter, judged_by, kept,
        server::{Act, Line, Server},
    },
    support::{Ran, harness, result, run, succeed, words},
};

/// Explanations, and judgements.
const QUESTIONS: usize = 2 + 2 * 2;

/// Which questions meet a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    All,
    /// Every second one: of the explanations the second, of the judgements those of the second
    /// prefix.
    Half,
    /// The second judgement.
    One,
}

/// What follows from a fault for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// It is everybody's: the run ends with code 30, whoever meets it.
    Every,
    /// It is the question's own: its value is missing for this reason, and the run ends with code
    /// 5.
    One(&'static str),
    /// The same where others are answered; everybody's where nobody is.
    Outage(&'static str),
}

struct Fault {
    name: &'static str,
    act: Act,
    whose: Whose,
    /// What is said of it.
    says: &'static str,
}

fn status(name: &'static str, head: &'static str, body: serde_json::Value, whose: Whose) -> Fault {
    Fault {
        name,
        act: Act::Status(head, body.to_string()),
        whose,
        says: "because of the moon",
    }
}

fn error(code: &str) -> serde_json::Value {
    json!({"error": {"message": "because of the moon", "type": "some_error", "code": code}})
}

/// Errors of the server, with a body that says why.
fn errors() -> Vec<Fault> {
    use Whose::{Every, One, Outage};
    let field = json!({"error": {"message": "because of the moon", "param": "user", "code": "x"}});
    let entry = json!({"detail": [{"loc": ["body", "messages", 0], "msg": "because of the moon", "type": "t"}]});
    let in_success = json!({"error": {"message": "because of the moon", "code": 429}});
    vec![
        status("401", "401 Unauthorized", error("invalid_api_key"), Every),
        status(
            "402",
            "402 Payment Required",
            error("invalid_request_error"),
            Every,
        ),
        status("403", "403 Forbidden", error("forbidden"), Every),
        status(
            "404, model",
            "404 Not Found",
            error("model_not_found"),
            Every,
        ),
        status("400, field", "400 Bad Request", field, Every),
        status(
            "429, no credit",
            "429 Too Many Requests",
            error("insufficient_quota"),
            Every,
        ),
        Fault {
            name: "404, page",
            act: Act::Status(
                "404 Not Found",
                "<html><title>because of the moon</title>".into(),
            ),
            whose: Every,
            says: "because of the moon",
        },
        status(
            "filter",
            "400 Bad Request",
            error("content_filter"),
            One("content_filter"),
        ),
        status(
            "too long",
            "400 Bad Request",
            error("context_length_exceeded"),
            One("too_long"),
        ),
        status("422", "422 Unprocessable Entity", entry, Outage("rejected")),
        status(
            "429",
            "429 Too Many Requests",
            error(""),
            Outage("rate_limited"),
        ),
        status("200, error", "200 OK", in_success, Outage("rate_limited")),
        status(
            "500",
            "500 Internal Server Error",
            error(""),
            Outage("no_answer"),
        ),
    ]
}

/// Faults of the way to the server.
fn breaks() -> Vec<Fault> {
    let outage = |name, act, says| Fault {
        name,
        act,
        whose: Whose::Outage("no_answer"),
        says,
    };
    vec![
        outage("closed", Act::Close, "the connection to"),
        outage("cut", Act::Cut, "the connection to"),
        outage("time-out", Act::Hang, "gave no answer in"),
        outage("page", Act::Status("200 OK", "<html>".into()), "a web page"),
    ]
}

/// A server whose fault can be changed while it runs, so that its address, and with it the judge's
/// name, stays.
struct Weather {
    server: Server,
    now: Arc<Mutex<Option<(Act, Who)>>>,
}

impl Weather {
    fn fair() -> Weather {
        let now: Arc<Mutex<Option<(Act, Who)>>> = Arc::default();
        let shared = Arc::clone(&now);
        let server = Server::start(move |number, _| match &*shared.lock().unwrap() {
            Some((act, who)) if is_struck(*who, number) => act.clone(),
            _ => Act::Answer,
        });
        Weather { server, now }
    }

    fn becomes(&self, fault: Option<(Act, Who)>) {
        *self.now.lock().unwrap() = fault;
    }
}

fn is_struck(who: Who, number: usize) -> bool {
    match who {
        Who::All => true,
        Who::Half => number % 2 == 1,
        Who::One => number == 3,
    }
}

/// The bench of one SAE, its questions asked one after the other, with short waits.
fn judged(out: &Path, server: &Server) -> Command {
    let mut command = judged_by(small(out), server);
    command
        .args(words("--rows qwen --workers 1 --judge-concurrency 1"))
        .env("HARNESS_JUDGE_TIMEOUT", "1")
        .env("HARNESS_JUDGE_ATTEMPTS", "2")
        .env("HARNESS_JUDGE_BACKOFF", "0.01");
    command
}

/// A store of its own in a folder that comes into being.
fn store(dir: &Path, name: &str) -> PathBuf {
    let dir = dir.join(name);
    fs::create_dir(&dir).unwrap();
    copy_of_reference(&dir)
}

/// A field of the first row of a table.
fn field(table: &str, column: &str) -> String {
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let at = reader.headers().unwrap().iter().position(|c| c == column);
    let at = at.unwrap_or_else(|| panic!("no {column} in\n{table}"));
    let row = reader.records().next().unwrap().unwrap();
    row[at].to_owned()
}

fn assert_says(ran: &Ran, parts: &[&str], what: &str) {
    for part in parts {
        assert!(
            ran.stderr.contains(part),
            "{what}: {part} is not in\n{}",
            ran.stderr
        );
    }
}

/// A fault meets all questions, then half, then one; then it is over.
fn through(faults: Vec<Fault>) {
    let dir = tempfile::tempdir().unwrap();
    let weather = Weather::fair();
    let server = &weather.server;
    let undisturbed = store(dir.path(), "undisturbed");
    succeed(&mut judged(&undisturbed, server));
    let fair = result(&undisturbed, "table2.csv");
    assert_eq!(server.seen().len(), QUESTIONS, "{:?}", server.seen());
    assert_eq!(
        (field(&fair, "status"), field(&fair, "n_judged")),
        ("ok".into(), "2".into())
    );
    for (number, fault) in faults.into_iter().enumerate() {
        let out = store(dir.path(), &number.to_string());
        let what = |who: Who| format!("{} for {who:?}", fault.name);
        for who in [Who::All, Who::Half, Who::One] {
            weather.becomes(Some((fault.act.clone(), who)));
            let ran = run(&mut judged(&out, server));
            let what = what(who);
            assert_says(&ran, &[fault.says], &what);
            let kind = match (fault.whose, who) {
                (Whose::Every, _) | (Whose::Outage(_), Who::All) => {
                    assert_eq!(ran.code, 30, "{what}: {}", ran.stderr);
                    continue;
                }
                (Whose::One(kind) | Whose::Outage(kind), _) => kind,
            };
            assert_eq!(ran.code, 5, "{what}: {}", ran.stderr);
            assert_says(&ran, &[kind, "the same command asks"], &what);
            let table = result(&out, "table2.csv");
            let of = |column: &str| field(&table, column);
            // Half: one feature is not explained, and of the other one judgement is missing.
            let (n_judged, n_missing) = match who {
                Who::All => (0, 2),
                Who::Half => (1, 2),
                Who::One => (2, 1),
            };
            assert_eq!(of("status"), "partial", "{what}");
            assert_eq!(of("n_judged"), n_judged.to_string(), "{what}\n{table}");
            assert_eq!(of("missing"), format!("{kind}={n_missing}"), "{what}");
            // Perplexities need no judge; where some features are judged, P is over these, as C is:
            // their score is the sum.
            match n_judged {
                1 => {
                    let number = |column: &str| of(column).parse::<f64>().unwrap();
                    let (c, p) = (
                        number("concept_improvement"),
                        number("perplexity_reduction"),
                    );
                    let off = number("steering_score") - (c + 0.3 * p);
                    assert!(off.abs() < 1e-12, "{what}: {off}\n{table}");
                }
                _ => assert_eq!(
                    of("perplexity_reduction"),
                    field(&fair, "perplexity_reduction"),
                    "{what}"
                ),
            }
            assert_eq!(
                of("concept_improvement").is_empty(),
                n_judged == 0,
                "{what}\n{table}"
            );
            assert!(
                ran.stdout.contains("have no usable answer"),
                "{what}\n{}",
                ran.stdout
            );
        }
        let n_kept = kept(&out.join("replies")).len();
        weather.becomes(None);
        let before = server.n_asked();
        succeed(&mut judged(&out, server));
        // What was answered is kept and paid for once.
        assert_eq!(
            server.n_asked() - before,
            QUESTIONS - n_kept,
            "{}",
            fault.name
        );
        assert_eq!(result(&out, "table2.csv"), fair, "{} after all", fault.name);
        let again = succeed(&mut judged(&out, server));
        assert_says(&again, &["nothing to do"], fault.name);
    }
}

#[test]
fn errors_of_a_judges_server_are_no_scores_and_pass() {
    through(errors());
}

#[test]
fn a_broken_way_to_a_judge_gives_no_scores_and_passes() {
    through(breaks());
}

/// A refusal is the judge's answer: the value stays missing, with its reason, and nobody is asked
/// again. The mean is over what was judged, unless the authors' zeros are asked for.
#[test]
fn refusals_are_final_and_count_as_nothing_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path(), "refused");
    let weather = Weather::fair();
    weather.becomes(Some((Act::Refuse, Who::Half)));
    succeed(&mut judged(&out, &weather.server));
    let table = result(&out, "table2.csv");
    let of = |column: &str| field(&table, column);
    assert_eq!(
        (of("status"), of("missing")),
        ("ok".into(), "refused=2".into())
    );
    assert_eq!(
        (of("n_judged"), of("n_valid"), of("n_features")),
        ("1".into(), "1".into(), "2".into())
    );
    weather.becomes(None);
    let before = weather.server.n_asked();
    let again = succeed(&mut judged(&out, &weather.server));
    assert_says(&again, &["nothing to do"], "refusals");
    assert_eq!(weather.server.n_asked(), before);

    let ran = succeed(judged(&out, &weather.server).args(["--set", "invalid_as_zero=true"]));
    assert!(ran.stdout.contains("invalid_as_zero"), "{}", ran.stdout);
    let zeros = result(&out, "table2.csv");
    let value = |table: &str| -> f64 { field(table, "concept_improvement").parse().unwrap() };
    assert!(
        (value(&zeros) - value(&table) / 2.0).abs() < 1e-12,
        "{zeros}\n{table}"
    );

    let nobody = store(dir.path(), "nobody");
    weather.becomes(Some((Act::Refuse, Who::All)));
    succeed(&mut judged(&nobody, &weather.server));
    let table = result(&nobody, "table2.csv");
    let of = |column: &str| field(&table, column);
    assert_eq!(
        (of("status"), of("concept_improvement")),
        ("unjudged".into(), String::new())
    );
    assert!(!of("perplexity_reduction").is_empty(), "{table}");
}

/// In batches each line fails for itself, and what is everybody's ends the run all the same.
#[test]
fn questions_of_a_batch_fail_and_pass_alike() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| Act::Answer);
    let undisturbed = store(dir.path(), "undisturbed");
    succeed(&mut judged(&undisturbed, &server));
    let fair = result(&undisturbed, "table2.csv");
    let batched = |out: &Path| {
        let mut command = judged(out, &server);
        command.args(["--judge-mode", "batch"]);
        command
    };
    for (line, code, kind) in [
        (
            Line::Error(400, "blocked by the content filter"),
            5,
            "content_filter",
        ),
        (
            Line::Error(400, "maximum context length is 10 tokens"),
            5,
            "too_long",
        ),
        (Line::Error(400, "because of the moon"), 5, "rejected"),
        (Line::Error(500, "because of the moon"), 5, "no_answer"),
        (Line::Expired, 5, "no_answer"),
        (Line::Missing, 5, "no_answer"),
        (
            Line::Error(402, "because of the moon"),
            30,
            "because of the moon",
        ),
        (Line::Error(404, "no such model"), 30, "no such model"),
    ] {
        let what = format!("{line:?}");
        let out = store(
            dir.path(),
            &what.replace(|c: char| !c.is_alphanumeric(), ""),
        );
        let pairs = Mutex::new(0);
        server.batches().line = Box::new(move |_, body| {
            let mut pairs = pairs.lock().unwrap();
            *pairs += usize::from(body["messages"].to_string().contains("score_without"));
            match *pairs {
                2 => line,
                _ => Line::Answer,
            }
        });
        let ran = run(&mut batched(&out));
        assert_eq!(ran.code, code, "{what}: {}", ran.stderr);
        assert_says(&ran, &[kind], &what);
        if code == 5 {
            assert_eq!(
                field(&result(&out, "table2.csv"), "missing"),
                format!("{kind}=1"),
                "{what}"
            );
        }
        server.batches().line = Box::new(|_, _| Line::Answer);
        succeed(&mut batched(&out));
        assert_eq!(result(&out, "table2.csv"), fair, "{what} after all");
    }
}

/// The bench of explanations and predictions: the same for a fault of every question, and of one.
#[test]
fn latents_without_an_answer_are_asked_about_again() {
    const LATENTS: &str = "3";
    let dir = tempfile::tempdir().unwrap();
    let weather = Weather::fair();
    let bench = |out: &Path| {
        let mut command = harness();
        command
            .args(words("bench autointerp --plugins plugins --rows qwen"))
            .args(["--layers", "1", "--k", "8", "--latents", LATENTS])
            .args(words("--budget-tokens 12000 --threads 1 --workers 1"))
            .args(words("--set label_field=none --judge-concurrency 1 --out"))
            .arg(out);
        let mut command = judged_by(command, &weather.server);
        command
            .env("HARNESS_JUDGE_ATTEMPTS", "2")
            .env("HARNESS_JUDGE_BACKOFF", "0.01");
        command
    };
    let fair = dir.path().join("fair");
    succeed(&mut bench(&fair));
    let files = ["autointerp.csv", "latents.csv", "explanations.jsonl"];
    let filter = Act::Status("400 Bad Request", error("content_filter").to_string());
    let limit = json!({"error": {"message": "Rate limit exceeded", "code": 429}});
    for (name, act, who, code, n_failed) in [
        (
            "402",
            Act::Status("402 Payment Required", error("x").to_string()),
            Who::All,
            30,
            "3",
        ),
        ("filter", filter.clone(), Who::One, 5, "1"),
        ("all filtered", filter, Who::All, 5, "3"),
        (
            "limit",
            Act::Status("200 OK", limit.to_string()),
            Who::All,
            30,
            "3",
        ),
    ] {
        let out = dir.path().join(name);
        weather.becomes(Some((act, who)));
        let ran = run(&mut bench(&out));
        assert_eq!(ran.code, code, "{name}: {}", ran.stderr);
        if code == 5 {
            let table = result(&out, "autointerp.csv");
            assert_eq!(field(&table, "status"), "partial", "{name}");
            assert_eq!(field(&table, "n_failed"), n_failed, "{name}\n{table}");
            assert_eq!(field(&table, "n_asked"), LATENTS, "{name}");
            // What was not answered is no wrong answer.
            let counted = field(&table, "score_unanswered_counted");
            assert_eq!(counted, field(&table, "autointerp_score"), "{name}");
            assert!(
                result(&out, "latents.csv").contains(",content_filter,"),
                "{name}"
            );
        }
        weather.becomes(None);
        succeed(&mut bench(&out));
        for file in files {
            assert_eq!(result(&out, file), result(&fair, file), "{name}: {file}");
        }
    }
}

/// Fields that a server does not take are learnt from its refusal, once for the run, and said.
#[test]
fn a_judge_without_a_field_is_asked_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let out = store(dir.path(), "out");
    let refuse = |field: &'static str| {
        let body = json!({"error": {"message": "Unsupported parameter", "param": field, "code": "unsupported_parameter"}});
        Act::Status("400 Bad Request", body.to_string())
    };
    let server = Server::start(move |number, before| match (number, before) {
        (0, 0) => refuse("temperature"),
        (0, 1) => refuse("max_completion_tokens"),
        (0, 2) => refuse("response_format"),
        _ => Act::Answer,
    });
    let ran = succeed(&mut judged(&out, &server));
    assert_says(
        &ran,
        &["`temperature` is left out", "`max_tokens` is sent"],
        "learnt",
    );
    assert_eq!(server.n_asked(), QUESTIONS + 3);
    assert_eq!(counter(&out, "judge_calls"), QUESTIONS as u64);
    let manifest: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(out.join("run.json")).unwrap()).unwrap();
    assert_eq!(
        manifest["judge_learnt"].as_array().unwrap().len(),
        3,
        "{manifest}"
    );
}

/// Answers as judges wrap them are the same answers, and so is what is replayed of them.
#[test]
fn answers_are_read_whatever_stands_around_them() {
    let dir = tempfile::tempdir().unwrap();
    let plain = Weather::fair();
    let out = store(dir.path(), "plain");
    succeed(&mut judged(&out, &plain.server));
    let fair = field(&result(&out, "table2.csv"), "concept_improvement");
    type Wrap = fn(&str) -> String;
    let wraps: [(&str, Wrap); 5] = [
        ("thought", |json| {
            format!("<think>\nRows share {{\"active\": [1]}}.\n</think>\n\n{json}")
        }),
        ("fence", |json| format!("```JSON\n{json}\n```")),
        ("prose", |json| {
            format!("Here it is:\n\n{json}\n\nLet me know if you need more.")
        }),
        ("key", |json| json.replacen('{', "{\"sure\": true, ", 1)),
        ("comma", |json| json.replacen('}', ",}", 1)),
    ];
    for (name, wrap) in wraps {
        let out = store(dir.path(), name);
        let server = Server::start(move |_, _| Act::Changed(wrap));
        succeed(&mut judged(&out, &server));
        let table = result(&out, "table2.csv");
        assert_eq!(field(&table, "concept_improvement"), fair, "{name}");
        assert_eq!(field(&table, "missing"), "", "{name}");
        let replayed = store(dir.path(), &format!("{name} replayed"));
        let replies = out.join("replies").display().to_string();
        let args = ["--rows", "qwen", "--judge", "replay", "--replies", &replies];
        succeed(small(&replayed).args(args));
        assert_eq!(result(&replayed, "table2.csv"), table, "{name}");
    }
}
