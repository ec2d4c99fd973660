//! One attempt at one request.

use std::{
    error, fmt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_openai::{
    Client, config::OpenAIConfig, error::OpenAIError, middleware::HttpRequestFactory,
};
use harness_sdk::{Error, ErrorCode, JudgeReply, JudgeRequest, JudgeTask, Result, Value};
use serde_json::json;

use crate::{failure::Failure, pace::Pace, retry, settings::Settings, shape::Shape};

/// Longest part of a server's message that is passed on, in characters.
const MESSAGE_CHARS: usize = 300;
/// Tokens of one answer that are believed.
const MOST_TOKENS: u64 = u32::MAX as u64;
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(20);

/// An error answer, carried through the client with its headers.
#[derive(Debug)]
struct ErrorAnswer(Failure);

impl fmt::Display for ErrorAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server answered with an error")
    }
}

impl error::Error for ErrorAnswer {}

/// How one attempt is made.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// How its form is asked for.
    pub shape: Shape,
    /// Longest time.
    pub timeout: Duration,
}

/// Connections to the server.
///
/// # Errors
/// No TLS.
pub fn connections(settings: &Settings) -> Result<reqwest::Client> {
    let mut http = reqwest::Client::builder().pool_idle_timeout(IDLE);
    if settings.is_local() {
        http = http.no_proxy();
    }
    http.build()
        .map_err(|error| Error::new(ErrorCode::NETWORK, format!("no HTTP client: {error}")))
}

/// A client that sends once: the library's own tries again without regard to what the server asks for and has no
/// time-out, so both are done here. `pace` learns what answers say about the rate.
///
/// # Errors
/// No key.
pub fn client(
    settings: &Settings,
    http: &reqwest::Client,
    pace: &Arc<Mutex<Pace>>,
) -> Result<Client<OpenAIConfig>> {
    let config = OpenAIConfig::new()
        .with_api_base(&settings.base_url)
        .with_api_key(settings.key()?);
    let (http, pace) = (http.clone(), Arc::clone(pace));
    let send = tower::service_fn(move |request: HttpRequestFactory| {
        let (http, pace) = (http.clone(), Arc::clone(&pace));
        async move {
            let response = http.execute(request.build().await?).await?;
            let status = response.status();
            if status.is_success() {
                let left = header(&response, "x-ratelimit-remaining-requests");
                let left = left.and_then(|n| n.parse().ok());
                if let Ok(mut pace) = pace.lock() {
                    pace.answered(left);
                }
                return Ok(response);
            }
            if status.as_u16() == 429
                && let Ok(mut pace) = pace.lock()
            {
                pace.slow_down();
            }
            let failure = refused(response).await;
            Err(OpenAIError::Boxed(Box::new(ErrorAnswer(failure))))
        }
    });
    Ok(Client::with_config(config).with_http_service(send))
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|v| v.to_str().ok())
}

/// What an error answer says.
pub async fn refused(response: reqwest::Response) -> Failure {
    let status = response.status().as_u16();
    let retry_after = retry::asked(
        header(&response, "retry-after-ms"),
        header(&response, "retry-after"),
        SystemTime::now(),
    );
    let should_retry = match header(&response, "x-should-retry") {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    let body = response.text().await.unwrap_or_default();
    let said: Value = serde_json::from_str(&body).unwrap_or_default();
    let (code, message) = said_of(&said["error"]);
    Failure::Status {
        status,
        code,
        message: match message.is_empty() {
            true => shortened(&body),
            false => message,
        },
        retry_after,
        should_retry,
    }
}

/// Code and message of an error as servers write it.
pub fn said_of(error: &Value) -> (String, String) {
    let code = error["code"].as_str().or(error["type"].as_str());
    let message = error["message"].as_str().unwrap_or_default();
    (code.unwrap_or_default().to_owned(), shortened(message))
}

/// Sends a request once and reads its answer.
///
/// # Errors
/// Every way in which there is no usable answer.
pub async fn attempt(
    client: &Client<OpenAIConfig>,
    settings: &Settings,
    request: &JudgeRequest,
    this: Try,
) -> std::result::Result<JudgeReply, Failure> {
    let body = body(settings, request, this.max_tokens, this.shape)?;
    let chat = client.chat();
    let answer = tokio::time::timeout(this.timeout, chat.create_byot::<_, Value>(body));
    match answer.await {
        Err(_) => Err(Failure::Timeout(this.timeout)),
        Ok(Err(error)) => Err(failure(error)),
        Ok(Ok(answer)) => read(&answer, request),
    }
}

/// What is sent of a request.
///
/// # Errors
/// A request without messages.
pub fn body(
    settings: &Settings,
    request: &JudgeRequest,
    max_tokens: u32,
    shape: Shape,
) -> std::result::Result<Value, Failure> {
    if request.messages.is_empty() {
        return Err(Failure::Request(format!(
            "request `{}` has no messages",
            request.id
        )));
    }
    let messages: Vec<Value> = request
        .messages
        .iter()
        .map(|message| json!({"role": message.role, "content": message.content}))
        .collect();
    let mut body = json!({
        "model": settings.model,
        "messages": messages,
        "temperature": request.temperature,
        "max_completion_tokens": max_tokens,
    });
    if let Some(format) = shape.response_format(request.task) {
        body["response_format"] = format;
    }
    Ok(body)
}

fn failure(error: OpenAIError) -> Failure {
    match error {
        OpenAIError::Boxed(error) => match error.downcast::<ErrorAnswer>() {
            Ok(answer) => answer.0,
            Err(other) => Failure::Connection(other.to_string()),
        },
        OpenAIError::Reqwest(error) => unsent(error),
        OpenAIError::JSONDeserialize(error, _) => {
            Failure::Connection(format!("the reply is no JSON: {error}"))
        }
        other => Failure::Request(other.to_string()),
    }
}

/// Why a request did not come through.
pub fn unsent(error: reqwest::Error) -> Failure {
    // The address may be private; what went wrong is in the causes.
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    if error.is_builder() {
        Failure::Request(text)
    } else {
        Failure::Connection(text)
    }
}

/// The answer out of a chat completion.
///
/// # Errors
/// A refusal, or an answer that is not the one asked for.
pub fn read(answer: &Value, request: &JudgeRequest) -> std::result::Result<JudgeReply, Failure> {
    let choice = &answer["choices"][0];
    if let Some(refusal) = choice["message"]["refusal"].as_str() {
        return Err(Failure::Refusal(shortened(refusal)));
    }
    if choice["finish_reason"] == "content_filter" {
        return Err(Failure::Refusal(
            "stopped by the server's filter".to_owned(),
        ));
    }
    let is_cut = choice["finish_reason"] == "length";
    // What a server counts is added up: no sum of these overflows.
    let used = |key| answer["usage"][key].as_u64().unwrap_or(0).min(MOST_TOKENS);
    let (tokens_in, tokens_out) = (used("prompt_tokens"), used("completion_tokens"));
    let bad = |reason: String| Failure::BadAnswer {
        reason,
        is_cut,
        tokens_in,
        tokens_out,
    };
    let content = choice["message"]["content"]
        .as_str()
        .ok_or_else(|| bad("the reply has no content".to_owned()))?;
    let text = unfenced(content);
    let parsed: Value = serde_json::from_str(text)
        .map_err(|error| bad(format!("the content is no JSON: {error}")))?;
    if let Some(missing) = missing(request.task, &parsed) {
        return Err(bad(format!("the content has no {missing}")));
    }
    Ok(JudgeReply {
        id: request.id.clone(),
        text: parsed.to_string(),
        tokens_in,
        tokens_out,
    })
}

/// What the task's answer must hold and this one does not.
fn missing(task: JudgeTask, answer: &Value) -> Option<&'static str> {
    let number = |key| answer[key].is_number();
    match task {
        _ if !answer.is_object() => Some("object"),
        JudgeTask::EXPLAIN if !answer["explanation"].is_string() => Some("text `explanation`"),
        JudgeTask::CONCEPT_PAIR if !number("score_without") => Some("number `score_without`"),
        JudgeTask::CONCEPT_PAIR if !number("score_after") => Some("number `score_after`"),
        JudgeTask::PREDICT_WINDOWS if !answer["active"].is_array() => Some("list `active`"),
        _ => None,
    }
}

/// The text inside a Markdown fence, or the text itself.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text
        .strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"))
    else {
        return text;
    };
    inner.strip_prefix("json").unwrap_or(inner).trim()
}

fn shortened(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
