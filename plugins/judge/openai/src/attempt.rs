//! One attempt at one request.

use std::{
    error, fmt,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_openai::{
    Client, config::OpenAIConfig, error::OpenAIError, middleware::HttpRequestFactory,
};
use harness_sdk::{Error, ErrorCode, JudgeReply, JudgeRequest, Result, Value};
use serde_json::json;

use crate::{
    answer::read, failure::Failure, form::Form, pace::Pace, retry, said::Said, settings::Settings,
};

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
    /// Its fields.
    pub form: Form,
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

/// A client that sends once: the library's own tries again without regard to what the server asks
/// for and has no time-out, so both are done here. `pace` learns what answers say about the rate.
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
    Failure::Status {
        status,
        said: Said::of_body(&body),
        retry_after,
        should_retry,
    }
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
    let body = body(settings, request, this.max_tokens, this.form)?;
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
    form: Form,
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
        form.limit: max_tokens,
    });
    if form.temperature {
        body["temperature"] = json!(request.temperature);
    }
    if let Some(format) = form.shape.response_format(request.task) {
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
        OpenAIError::JSONDeserialize(error, body) => no_json(&error, &body),
        other => Failure::Request(other.to_string()),
    }
}

/// A body that should be JSON and is not: a web page is that of another address.
pub fn no_json(error: &serde_json::Error, body: &str) -> Failure {
    let said = Said::of_body(body);
    match said.is_page {
        true => Failure::of_status(200, said),
        false => Failure::Connection(format!("the reply is no JSON: {error}")),
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
    match () {
        () if error.is_builder() => Failure::Request(text),
        () if error.is_connect() => Failure::Unreachable(text),
        () => Failure::Connection(text),
    }
}
