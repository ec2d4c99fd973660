//! The Batch API: a file of requests, a batch of that file, and files of answers and errors.

use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

use harness_sdk::{BatchProgress, Error, ErrorCode, JudgeReply, JudgeRequest, Result, Value};
use reqwest::{Client, RequestBuilder};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    answer, attempt,
    cause::{Cause, cause},
    failure::{Failure, Verdict},
    form::{FIRST, Form},
    retry,
    said::Said,
    settings::Settings,
};

/// What the requests of a batch are, whatever the server's address.
const ENDPOINT: &str = "/v1/chat/completions";
/// How long the server may take.
const WINDOW: &str = "24h";
/// The entry of a batch's metadata that holds its tag.
const TAG: &str = "harness_batch";
/// Batches of a page, and pages that are looked through for a tag: the newest come first.
const PAGE: usize = 100;
const PAGES: usize = 100;
/// Bytes that are sent or received in a second at least.
const SLOWEST: usize = 500_000;
/// Between the parts of an upload. No line holds it: JSON escapes the line break before it.
const BOUNDARY: &str = "harness-batch-6c1f5b0e92";

/// The batches of a server.
pub struct Batches<'a> {
    http: &'a Client,
    settings: &'a Settings,
}

/// Takes a reply to the request with a number; a break ends it.
pub type OnReply<'a> = &'a mut dyn FnMut(usize, Result<JudgeReply>) -> ControlFlow<()>;

type Tried<T> = std::result::Result<T, Failure>;

impl<'a> Batches<'a> {
    /// Those of the account of the settings' key.
    pub fn new(http: &'a Client, settings: &'a Settings) -> Self {
        Self { http, settings }
    }

    /// Uploads requests and makes a batch of them; returns its id.
    ///
    /// # Errors
    /// `NETWORK` where the server may have made the batch all the same; anything else says that it
    /// has not.
    pub async fn submit(&self, requests: &[JudgeRequest], tag: &str) -> Result<String> {
        let mut lines = String::new();
        let form = Form::of(self.settings);
        for request in requests {
            let body = attempt::body(self.settings, request, request.max_tokens, form)
                .map_err(|failure| failure.into_error(self.settings, 1))?;
            let line = json!({
                "custom_id": request.id, "method": "POST", "url": ENDPOINT, "body": body,
            });
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        let form = upload(&lines);
        let file = self
            .again(form.len(), || {
                let kind = format!("multipart/form-data; boundary={BOUNDARY}");
                Ok(self
                    .post("files")?
                    .header("content-type", kind)
                    .body(form.clone()))
            })
            .await?;
        let batch = json!({
            "input_file_id": id(&file, "file")?,
            "endpoint": ENDPOINT,
            "completion_window": WINDOW,
            "metadata": {TAG: tag},
        });
        self.create(&batch, tag).await
    }

    /// Makes the batch once: when nobody knows whether an attempt has made it, it is looked for
    /// before the next.
    async fn create(&self, batch: &Value, tag: &str) -> Result<String> {
        let body = batch.to_string();
        let mut attempts = 0;
        loop {
            let request = self
                .post("batches")?
                .header("content-type", "application/json")
                .body(body.clone());
            let failure = match self.once(request, body.len()).await {
                Ok(made) => return id(&made, "batch"),
                Err(failure) => failure,
            };
            attempts += 1;
            let asked = failure.retry_after();
            let is_last = attempts >= self.settings.attempts
                || asked.is_some_and(|wait| wait > retry::LONGEST);
            if failure.verdict() != Verdict::Again || is_last {
                return Err(failure.into_error(self.settings, attempts));
            }
            let wait = retry::wait(attempts - 1, self.settings.backoff, asked, retry::draw());
            tokio::time::sleep(wait).await;
            // While that cannot be found out the batch may be there, whatever keeps the server from
            // saying so.
            let unknown = |error: Error| Error::new(ErrorCode::NETWORK, error.message().to_owned());
            if let Some(ticket) = self.find(tag).await.map_err(unknown)? {
                return Ok(ticket);
            }
        }
    }

    /// The id of the batch with this tag.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn find(&self, tag: &str) -> Result<Option<String>> {
        let mut after = String::new();
        for _ in 0..PAGES {
            let page = self
                .again(0, || {
                    let query = match after.is_empty() {
                        true => format!("batches?limit={PAGE}"),
                        false => format!("batches?limit={PAGE}&after={after}"),
                    };
                    self.get(&query)
                })
                .await?;
            let batches = page["data"].as_array().map_or(&[][..], Vec::as_slice);
            let found = batches.iter().find(|batch| batch["metadata"][TAG] == tag);
            if let Some(batch) = found {
                return id(batch, "batch").map(Some);
            }
            match batches.last().and_then(|batch| batch["id"].as_str()) {
                Some(last) if page["has_more"] == true => after = checked(last)?.to_owned(),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// How far a batch is; hands over its answers and errors once it has ended.
    ///
    /// # Errors
    /// When the server cannot be asked, or does not know the batch.
    pub async fn poll(
        &self,
        ticket: &str,
        requests: &[JudgeRequest],
        on_reply: OnReply<'_>,
    ) -> Result<BatchProgress> {
        let ticket = checked(ticket)?;
        let unknown = |error: Error| match error.code() {
            ErrorCode::CONFIG => Error::config(format!(
                "{} knows no batch {ticket} of the account of this key ({})",
                self.settings.host(),
                error.message()
            )),
            _ => error,
        };
        let batch = self
            .again(0, || self.get(&format!("batches/{ticket}")))
            .await
            .map_err(unknown)?;
        let counts = |key: &str| batch["request_counts"][key].as_u64().unwrap_or(0);
        let mut progress = BatchProgress {
            is_ended: false,
            done: counts("completed").saturating_add(counts("failed")),
            total: requests.len() as u64,
        };
        let status = batch["status"].as_str().unwrap_or_default();
        if !["completed", "failed", "expired", "cancelled"].contains(&status) {
            return Ok(progress);
        }
        progress.is_ended = true;
        let mut results = BTreeMap::new();
        for key in ["output_file_id", "error_file_id"] {
            if let Some(file) = batch[key].as_str() {
                let path = format!("files/{}/content", checked(file)?);
                let text = self.text(counts("total"), &path).await?;
                results.extend(lines(&text));
            }
        }
        let without = without_line(status, &batch, self.settings);
        let form = Form::of(self.settings);
        for (i, request) in requests.iter().enumerate() {
            let reply = match results.get(request.id.as_str()) {
                Some(line) => read_line(line, request, form, self.settings),
                None => Err(without.clone()),
            };
            if on_reply(i, reply) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(progress)
    }

    fn post(&self, path: &str) -> Result<RequestBuilder> {
        let url = format!("{}/{path}", self.settings.base_url);
        Ok(self.http.post(url).bearer_auth(self.settings.key()?))
    }

    fn get(&self, path: &str) -> Result<RequestBuilder> {
        let url = format!("{}/{path}", self.settings.base_url);
        Ok(self.http.get(url).bearer_auth(self.settings.key()?))
    }

    /// A JSON answer, asked for again where that may help.
    async fn again(
        &self,
        bytes: usize,
        request: impl Fn() -> Result<RequestBuilder>,
    ) -> Result<Value> {
        let deadline = Instant::now() + self.settings.total + transfer(bytes);
        let mut attempts = 0;
        loop {
            let failure = match self.once(request()?, bytes).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            attempts += 1;
            self.wait_or_give_up(failure, attempts, deadline).await?;
        }
    }

    /// The content of a file with `n_lines` lines, asked for again where that may help.
    async fn text(&self, n_lines: u64, path: &str) -> Result<String> {
        let bytes = usize::try_from(n_lines).unwrap_or(0).saturating_mul(4096);
        let deadline = Instant::now() + self.settings.total + transfer(bytes);
        let mut attempts = 0;
        loop {
            let failure = match self.body(self.get(path)?, bytes).await {
                Ok(text) => return Ok(text),
                Err(failure) => failure,
            };
            attempts += 1;
            self.wait_or_give_up(failure, attempts, deadline).await?;
        }
    }

    async fn wait_or_give_up(
        &self,
        failure: Failure,
        attempts: u32,
        deadline: Instant,
    ) -> Result<()> {
        let asked = failure.retry_after();
        let wait = retry::wait(attempts - 1, self.settings.backoff, asked, retry::draw());
        let is_last = attempts >= self.settings.attempts
            || asked.is_some_and(|wait| wait > retry::LONGEST)
            || Instant::now() + wait >= deadline;
        if failure.verdict() != Verdict::Again || is_last {
            return Err(failure.into_error(self.settings, attempts));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn once(&self, request: RequestBuilder, bytes: usize) -> Tried<Value> {
        let text = self.body(request, bytes).await?;
        serde_json::from_str(&text).map_err(|error| attempt::no_json(&error, &text))
    }

    /// The body of a successful answer.
    async fn body(&self, request: RequestBuilder, bytes: usize) -> Tried<String> {
        let limit = self.settings.timeout + transfer(bytes);
        let answer = tokio::time::timeout(limit, async {
            let response = request.send().await.map_err(attempt::unsent)?;
            match response.status().is_success() {
                true => response.text().await.map_err(attempt::unsent),
                false => Err(attempt::refused(response).await),
            }
        });
        answer.await.unwrap_or(Err(Failure::Timeout(limit)))
    }
}

/// Time that so many bytes may take.
fn transfer(bytes: usize) -> Duration {
    Duration::from_secs((bytes / SLOWEST) as u64)
}

/// A file of lines as the form that is uploaded.
fn upload(lines: &str) -> Vec<u8> {
    format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
         --{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"batch.jsonl\"\r\n\
         content-type: application/jsonl\r\n\r\n{lines}\r\n--{BOUNDARY}--\r\n"
    )
    .into_bytes()
}

/// The id of what the server has made.
fn id(made: &Value, what: &str) -> Result<String> {
    let missing = || {
        Error::new(
            ErrorCode::NETWORK,
            format!("the server gave a {what} no id"),
        )
    };
    Ok(checked(made["id"].as_str().ok_or_else(missing)?)?.to_owned())
}

/// An id that can be part of an address.
fn checked(id: &str) -> Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !id.is_empty() && id.chars().all(is_plain) && !id.starts_with('.') {
        true => Ok(id),
        false => Err(Error::new(
            ErrorCode::NETWORK,
            format!("`{}` is no id of a server", id.escape_debug()),
        )),
    }
}

/// Lines of a file of answers by the ids of their requests; damaged ones are as good as missing.
fn lines(text: &str) -> impl Iterator<Item = (String, Value)> {
    text.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let id = line["custom_id"].as_str()?.to_owned();
        Some((id, line))
    })
}

/// The reply of a line; `form` is that of requests before the batch was read.
fn read_line(
    line: &Value,
    request: &JudgeRequest,
    form: Form,
    settings: &Settings,
) -> Result<JudgeReply> {
    let (response, body) = (&line["response"], &line["response"]["body"]);
    let failure = match response["status_code"].as_u64() {
        Some(200) => match answer::read(body, request) {
            Ok(reply) => return Ok(reply),
            Err(failure) => failure,
        },
        Some(status) => {
            let said = Said::of(body).unwrap_or_default();
            Failure::of_status(u16::try_from(status).unwrap_or(0), said)
        }
        None => {
            // `batch_expired` and the like: it was not answered and is not billed.
            let said = Said::of(line).unwrap_or_default();
            let (host, label) = (settings.host(), said.label());
            let text = format!("{host} left a request out: {label}: {}", said.message);
            return Err(Error::new(ErrorCode::NETWORK, settings.redact(&text)));
        }
    };
    if let Some((field, said)) = failure.objection(form) {
        form.refused(field, settings, said);
    }
    if let Some((_, said)) = failure.objection(FIRST) {
        // The host sees in what was learnt whether the question is worth asking again at once.
        let text = format!("{} refused a field: {}", settings.host(), said.message);
        return Err(Error::new(ErrorCode::NETWORK, settings.redact(&text)));
    }
    Err(failure.into_error(settings, 1))
}

/// Why a request of a batch that has ended has no line.
fn without_line(status: &str, batch: &Value, settings: &Settings) -> Error {
    let error = &batch["errors"]["data"][0];
    let said = Said::of(&json!({ "error": error })).unwrap_or_default();
    let why = match said.label() {
        "" => String::new(),
        label => format!(": {label}: {}", said.message),
    };
    let text = settings.redact(&format!(
        "a batch at {} is {status} and has no answer to a request{why}",
        settings.host()
    ));
    match cause(400, &said) {
        Cause::Account => {
            Error::new(ErrorCode::AUTH, text).hint("add credit to the account of the key")
        }
        Cause::Model => Error::config(text).hint("does the server have the model?"),
        _ => Error::new(ErrorCode::NETWORK, text).hint("the same command asks for it again"),
    }
}
