//! The Batch API of the test server: files, batches of them, and what comes of each line.

use std::{collections::BTreeMap, thread, time::Duration};

use serde_json::{Value, json};

use super::{State, answer, chat};

/// What becomes of a line of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Line {
    /// A right answer.
    Answer,
    /// A chat completion with this content.
    Content(&'static str),
    /// The model declines.
    Refuse,
    /// An error with this status.
    Status(u16),
    /// An error with this status and message.
    Error(u16, &'static str),
    /// The time was up before it was answered.
    Expired,
    /// It is in no file.
    Missing,
}

/// Where the server stops answering, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// At the creation of a batch, which it does not make.
    BeforeCreation,
    /// After it has made a batch.
    AfterCreation,
}

type LineScript = dyn Fn(usize, &Value) -> Line + Send;

/// What the server knows of batches, and what it is to do with them.
pub struct Batches {
    files: BTreeMap<String, String>,
    made: Vec<Batch>,
    /// Files uploaded by clients.
    pub n_files: usize,
    /// The next creation is not answered.
    pub silence: Option<Silence>,
    /// Whether it has been silent.
    pub was_silent: bool,
    /// Batches stay as they are.
    pub is_running: bool,
    /// How a batch ends, by its number.
    pub ending: fn(usize) -> &'static str,
    /// What becomes of a line, by the number of its batch and what it asks.
    pub line: Box<LineScript>,
}

struct Batch {
    metadata: Value,
    input: String,
    looks: usize,
    /// Status with the files of answers and errors, once it has ended.
    ended: Option<(&'static str, String, String)>,
}

impl Default for Batches {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            made: Vec::new(),
            n_files: 0,
            silence: None,
            was_silent: false,
            is_running: false,
            ending: |_| "completed",
            line: Box::new(|_, _| Line::Answer),
        }
    }
}

impl Batches {
    /// Batches made.
    pub fn n_made(&self) -> usize {
        self.made.len()
    }
}

/// The answer to a request below `/v1/files` and `/v1/batches`; `None` where there is none, and
/// never will be.
pub fn serve(
    state: &State,
    method: &str,
    path: &str,
    body: &str,
) -> Option<(&'static str, String)> {
    let mut batches = state.batches.lock().unwrap();
    let ok = |value: Value| Some(("200 OK", value.to_string()));
    let (path, _query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    match (method, parts.as_slice()) {
        ("POST", ["files"]) => {
            assert!(body.contains("name=\"purpose\"\r\n\r\nbatch\r\n"), "{body}");
            let lines = body.lines().filter(|line| line.starts_with('{'));
            let lines = lines.collect::<Vec<_>>().join("\n");
            batches.n_files += 1;
            let id = format!("file-{}", batches.files.len());
            batches.files.insert(id.clone(), lines);
            ok(json!({"id": id, "purpose": "batch"}))
        }
        ("POST", ["batches"]) => {
            let asked: Value = serde_json::from_str(body).unwrap();
            let silence = batches.silence.take();
            batches.was_silent |= silence.is_some();
            if silence != Some(Silence::BeforeCreation) {
                make(state, &mut batches, &asked);
            }
            let last = batches.made.len().saturating_sub(1);
            drop(batches);
            if silence.is_some() {
                thread::sleep(Duration::from_secs(120));
                return None;
            }
            ok(json!({"id": format!("batch_{last}"), "status": "validating"}))
        }
        ("GET", ["batches"]) => {
            let listed: Vec<Value> = (batches.made.iter().enumerate().rev())
                .map(|(i, batch)| json!({"id": format!("batch_{i}"), "metadata": batch.metadata}))
                .collect();
            ok(json!({"data": listed, "has_more": false}))
        }
        ("GET", ["batches", id]) => {
            let number: usize = id.strip_prefix("batch_")?.parse().ok()?;
            look(state, &mut batches, number).map(|batch| ("200 OK", batch.to_string()))
        }
        ("GET", ["files", id, "content"]) => {
            let content = batches.files.get(*id)?.clone();
            Some(("200 OK", content))
        }
        _ => Some((
            "404 Not Found",
            json!({"error": {"message": path}}).to_string(),
        )),
    }
}

/// Takes a batch; what it asks is asked for from now on.
fn make(state: &State, batches: &mut Batches, asked: &Value) {
    assert_eq!(asked["endpoint"], "/v1/chat/completions");
    let input = asked["input_file_id"].as_str().unwrap().to_owned();
    for line in batches.files[&input].lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        state.asked(&line["body"]);
    }
    batches.made.push(Batch {
        metadata: asked["metadata"].clone(),
        input,
        looks: 0,
        ended: None,
    });
}

/// How far a batch is. It ends at the second look.
fn look(state: &State, batches: &mut Batches, number: usize) -> Option<Value> {
    let (is_running, ending) = (batches.is_running, batches.ending);
    let batch = batches.made.get_mut(number)?;
    batch.looks += 1;
    if batch.looks >= 2 && !is_running && batch.ended.is_none() {
        let status = ending(number);
        let (mut output, mut errors) = (String::new(), String::new());
        let lines = batches.files[&batch.input].clone();
        for line in lines.lines().filter(|_| status != "failed") {
            let line: Value = serde_json::from_str(line).unwrap();
            let act = (batches.line)(number, &line["body"]);
            let (file, result) = match result(act, &line["body"]) {
                Some((true, result)) => (&mut output, result),
                Some((false, result)) => (&mut errors, result),
                None => continue,
            };
            if matches!(act, Line::Answer) {
                state.answered(&line["body"]);
            }
            let mut result = result;
            result["custom_id"] = line["custom_id"].clone();
            file.push_str(&format!("{result}\n"));
        }
        let mut keep = |name: &str, content: String| {
            let id = format!("file-{name}-{number}");
            batches.files.insert(id.clone(), content);
            id
        };
        let ended = (status, keep("out", output), keep("err", errors));
        batch.ended = Some(ended);
    }
    let Some((status, output, errors)) = &batch.ended else {
        return Some(json!({"status": "in_progress", "request_counts": {"total": 1}}));
    };
    let file = |id: &String| match batches.files[id].is_empty() {
        true => Value::Null,
        false => json!(id),
    };
    let quota = json!({"data": [{"code": "insufficient_quota", "message": "no credit"}]});
    Some(json!({
        "status": status,
        "output_file_id": file(output),
        "error_file_id": file(errors),
        "errors": if *status == "failed" { quota } else { Value::Null },
    }))
}

/// Whether a line is an answer, and the line; `None` where there is none.
fn result(act: Line, body: &Value) -> Option<(bool, Value)> {
    let answered = |status: u16, body: Value| {
        let is_answer = status == 200;
        let line = json!({"response": {"status_code": status, "body": body}, "error": null});
        Some((is_answer, line))
    };
    let parsed = |text: String| -> Value { serde_json::from_str(&text).unwrap() };
    match act {
        Line::Answer => answered(200, parsed(chat(&answer(body)))),
        Line::Content(content) => answered(200, parsed(chat(content))),
        Line::Refuse => answered(200, json!({"choices": [{"message": {"refusal": "no"}}]})),
        Line::Status(status) => answered(
            status,
            json!({"error": {"code": "some", "message": "an error"}}),
        ),
        Line::Error(status, message) => answered(status, json!({"error": {"message": message}})),
        Line::Expired => {
            let error = json!({"code": "batch_expired", "message": "the time was up"});
            Some((false, json!({"response": null, "error": error})))
        }
        Line::Missing => None,
    }
}
