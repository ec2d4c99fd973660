//! One attempt at one request.

use std::{error, fmt};

use async_openai::{
    Client, config::OpenAIConfig, error::OpenAIError, middleware::HttpRequestFactory,
};
use harness_sdk::{Error, ErrorCode, JudgeReply, JudgeRequest, JudgeTask, Result, Value};
use serde_json::json;

use crate::{failure::Failure, retry, settings::Settings};

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

/// A client that sends once: the library's own tries again without regard to what the server asks for and has no
/// time-out, so both are done here.
///
/// # Errors
/// No TLS, or no key.
pub fn client(settings: &Settings) -> Result<Client<OpenAIConfig>> {
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
    let send = tower::service_fn(move |request: HttpRequestFactory| {
        let http = http.clone();
        async move {
            let response = http.execute(request.build().await?).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
            let retry_after = retry::asked(header("retry-after-ms"), header("retry-after"));
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
            }))))
        }
    });
    Ok(Client::with_config(config).with_http_service(send))
}

/// Sends a request once and reads its answer, allowing `max_tokens` tokens.
///
/// # Errors
/// Every way in which there is no usable answer.
pub async fn attempt(
    client: &Client<OpenAIConfig>,
    settings: &Settings,
    request: &JudgeRequest,
    max_tokens: u32,
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
    let body = json!({
        "model": settings.model,
        "messages": messages,
        "temperature": request.temperature,
        "max_completion_tokens": max_tokens,
        "response_format": {"type": "json_object"},
    });
    let chat = client.chat();
    let answer = tokio::time::timeout(settings.timeout, chat.create_byot::<_, Value>(body));
    match answer.await {
        Err(_) => Err(Failure::Timeout(settings.timeout)),
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
        OpenAIError::JSONDeserialize(error, _) => Failure::BadAnswer {
            reason: format!("the reply is no JSON: {error}"),
            is_cut: false,
        },
        other => Failure::Request(other.to_string()),
    }
}

/// The answer out of a chat completion.
fn read(answer: &Value, request: &JudgeRequest) -> std::result::Result<JudgeReply, Failure> {
    let choice = &answer["choices"][0];
    if let Some(refusal) = choice["message"]["refusal"].as_str() {
        return Err(Failure::Refusal(shortened(refusal)));
    }
    let is_cut = choice["finish_reason"] == "length";
    let bad = |reason: String| Failure::BadAnswer { reason, is_cut };
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
        tokens_in: answer["usage"]["prompt_tokens"].as_u64().unwrap_or(0),
        tokens_out: answer["usage"]["completion_tokens"].as_u64().unwrap_or(0),
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
