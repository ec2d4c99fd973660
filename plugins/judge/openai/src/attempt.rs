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

/// A client that sends once: the library's own tries again without regard to what the server asks for and has no
/// time-out, so both are done here. `pace` learns what answers say about the rate.
///
/// # Errors
/// No TLS, or no key.
pub fn client(settings: &Settings, pace: &Arc<Mutex<Pace>>) -> Result<Client<OpenAIConfig>> {
    let mut http = reqwest::Client::builder();
    if settings.is_local() {
        http = http.no_proxy();
    }
    let http = http
        .build()
        .map_err(|error| Error::new(ErrorCode::NETWORK, format!("no HTTP client: {error}")))?;
    let config = OpenAIConfig::new()
        .with_api_base(&settings.base_url)
        .with_api_key(settings.key()?);
    let pace = Arc::clone(pace);
    let send = tower::service_fn(move |request: HttpRequestFactory| {
        let (http, pace) = (http.clone(), Arc::clone(&pace));
        async move {
            let response = http.execute(request.build().await?).await?;
            let status = response.status();
            let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
            if status.is_success() {
                let left = header("x-ratelimit-remaining-requests").and_then(|n| n.parse().ok());
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
            let retry_after = retry::asked(
                header("retry-after-ms"),
                header("retry-after"),
                SystemTime::now(),
            );
            let should_retry = match header("x-should-retry") {
                Some("true") => Some(true),
                Some("false") => Some(false),
                _ => None,
            };
            let body = response.text().await.unwrap_or_default();
            let said: Value = serde_json::from_str(&body).unwrap_or_default();
            let said = &said["error"];
            let text = said["message"].as_str().unwrap_or(&body);
            let code = said["code"].as_str().or(said["type"].as_str());
            Err(OpenAIError::Boxed(Box::new(ErrorAnswer(Failure::Status {
                status: status.as_u16(),
                code: code.unwrap_or_default().to_owned(),
                message: shortened(text),
                retry_after,
                should_retry,
            }))))
        }
    });
    Ok(Client::with_config(config).with_http_service(send))
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
        "max_completion_tokens": this.max_tokens,
    });
    if let Some(format) = this.shape.response_format(request.task) {
        body["response_format"] = format;
    }
    let chat = client.chat();
    let answer = tokio::time::timeout(this.timeout, chat.create_byot::<_, Value>(body));
    match answer.await {
        Err(_) => Err(Failure::Timeout(this.timeout)),
        Ok(Err(error)) => Err(failure(error)),
        Ok(Ok(answer)) => read(&answer, request),
    }
}

fn failure(error: OpenAIError) -> Failure {
    match error {
        OpenAIError::Boxed(error) => match error.downcast::<ErrorAnswer>() {
            Ok(answer) => answer.0,
            Err(other) => Failure::Connection(other.to_string()),
        },
        OpenAIError::Reqwest(error) => {
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
        OpenAIError::JSONDeserialize(error, _) => {
            Failure::Connection(format!("the reply is no JSON: {error}"))
        }
        other => Failure::Request(other.to_string()),
    }
}

/// The answer out of a chat completion.
fn read(answer: &Value, request: &JudgeRequest) -> std::result::Result<JudgeReply, Failure> {
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
    let used = |key| answer["usage"][key].as_u64().unwrap_or(0);
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
