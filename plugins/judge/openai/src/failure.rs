//! What can go wrong with one attempt, and what follows from it.

use std::time::Duration;

use harness_sdk::{Error, ErrorCode};

use crate::{
    settings::{API_KEY, MODEL, Settings},
    shape,
};

/// Why an attempt gave no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The server answered with an error.
    Status {
        /// HTTP status.
        status: u16,
        /// The server's own error code, e.g. `insufficient_quota`.
        code: String,
        /// Its message, shortened.
        message: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
        /// Whether it says that trying again helps (`x-should-retry`).
        should_retry: Option<bool>,
    },
    /// No answer in time.
    Timeout(Duration),
    /// The connection failed or broke, or what came is no reply of such a server.
    Connection(String),
    /// The model's answer is not the JSON asked for. It was paid for.
    BadAnswer {
        /// What is wrong with it.
        reason: String,
        /// Whether it was cut at the token limit.
        is_cut: bool,
        /// Tokens paid for, sent.
        tokens_in: u64,
        /// Tokens paid for, received.
        tokens_out: u64,
    },
    /// The model declined.
    Refusal(String),
    /// The request could not be formed.
    Request(String),
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another attempt may succeed.
    Again,
    /// This request has failed.
    Give,
    /// Every request would fail.
    Stop,
}

impl Failure {
    /// What follows.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Status {
                status,
                code,
                should_retry,
                ..
            } => match *status {
                401 | 403 => Verdict::Stop,
                _ if code == "insufficient_quota" => Verdict::Stop,
                _ if *should_retry == Some(true) => Verdict::Again,
                _ if *should_retry == Some(false) => Verdict::Give,
                408 | 409 | 429 | 500..=599 => Verdict::Again,
                _ => Verdict::Give,
            },
            Self::Timeout(_) | Self::Connection(_) | Self::BadAnswer { .. } => Verdict::Again,
            Self::Refusal(_) | Self::Request(_) => Verdict::Give,
        }
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the server refuses the form asked of the answer, and not the request.
    pub fn is_objection(&self) -> bool {
        matches!(self, Self::Status { status: 400 | 422, message, .. } if shape::is_objection(message))
    }

    /// Tokens paid for an answer that is of no use, sent and received.
    pub fn paid(&self) -> Option<(u64, u64)> {
        match self {
            Self::BadAnswer {
                tokens_in,
                tokens_out,
                ..
            } => Some((*tokens_in, *tokens_out)),
            _ => None,
        }
    }

    /// Whether the answer was cut at the token limit.
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::BadAnswer { is_cut: true, .. })
    }

    /// As the error the host gets, after `attempts` attempts; without the key.
    pub fn into_error(self, settings: &Settings, attempts: u32) -> Error {
        let host = settings.host();
        let tried = match attempts {
            1 => String::new(),
            n => format!(" after {n} attempts"),
        };
        let error = match self {
            Self::Status {
                status,
                code,
                message,
                retry_after,
                ..
            } => {
                let code = if code.is_empty() {
                    code
                } else {
                    format!(" {code}")
                };
                let text = format!("{host} answered {status}{code}{tried}: {message}");
                status_error(status, &code, text, retry_after, settings)
            }
            Self::Timeout(limit) => Error::new(
                ErrorCode::NETWORK,
                format!("{host} gave no answer in {} s{tried}", limit.as_secs_f64()),
            ),
            Self::Connection(what) => Error::new(
                ErrorCode::NETWORK,
                format!("the connection to {host} failed{tried}: {what}"),
            ),
            Self::BadAnswer { reason, .. } => Error::new(
                ErrorCode::UNUSABLE,
                format!("{} gave no usable answer{tried}: {reason}", settings.model),
            ),
            Self::Refusal(text) => Error::new(
                ErrorCode::REFUSED,
                format!("{} declined to answer: {text}", settings.model),
            ),
            Self::Request(what) => Error::invalid(what),
        };
        // Servers repeat keys in their messages.
        redacted(&error, settings)
    }
}

fn status_error(
    status: u16,
    code: &str,
    text: String,
    retry_after: Option<Duration>,
    settings: &Settings,
) -> Error {
    match status {
        401 | 403 => Error::new(
            ErrorCode::AUTH,
            format!("{text} (the key is from {API_KEY})"),
        )
        .hint(format!("check the key in {API_KEY}")),
        _ if code.contains("insufficient_quota") => Error::new(
            ErrorCode::AUTH,
            format!("{text} (the account of the key in {API_KEY})"),
        )
        .hint("add credit to the account, or go without it: --judge lexical works offline, --judge replay answers from kept replies"),
        429 => {
            let wait = retry_after.map_or(0, |wait| wait.as_millis());
            Error::new(ErrorCode::RATE_LIMITED, text)
                .retry_after_ms(u64::try_from(wait).unwrap_or(u64::MAX))
        }
        404 => Error::config(text).hint(format!(
            "does the server have the model `{}`? {MODEL} sets it",
            settings.model
        )),
        408 | 409 | 500..=599 => Error::new(ErrorCode::NETWORK, text),
        _ => Error::invalid(text),
    }
}

fn redacted(error: &Error, settings: &Settings) -> Error {
    let text = settings.redact(error.message());
    if text == error.message() {
        return error.clone();
    }
    Error::new(error.code(), text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(status: u16, code: &str) -> Failure {
        Failure::Status {
            status,
            code: code.to_owned(),
            message: "said sk-123 is wrong".to_owned(),
            retry_after: None,
            should_retry: None,
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for code in [408, 409, 429, 500, 502, 503, 529] {
            assert_eq!(status(code, "").verdict(), Verdict::Again, "{code}");
        }
        for code in [401, 403] {
            assert_eq!(status(code, "").verdict(), Verdict::Stop, "{code}");
        }
        assert_eq!(status(429, "insufficient_quota").verdict(), Verdict::Stop);
        for code in [400, 404, 422] {
            assert_eq!(status(code, "").verdict(), Verdict::Give, "{code}");
        }
    }

    #[test]
    fn the_server_is_believed_about_trying_again() {
        let said = |code, should| {
            let mut failure = status(code, "");
            if let Failure::Status { should_retry, .. } = &mut failure {
                *should_retry = Some(should);
            }
            failure.verdict()
        };
        assert_eq!(said(400, true), Verdict::Again);
        assert_eq!(said(503, false), Verdict::Give);
        assert_eq!(said(401, true), Verdict::Stop);
    }

    #[test]
    fn errors_name_the_variable_and_hide_the_key() {
        let env = |name: &str| (name == API_KEY).then(|| "sk-123".to_owned());
        let settings = Settings::resolve(&json!({}), env).unwrap();
        let error = status(401, "invalid_api_key").into_error(&settings, 1);
        assert_eq!(error.code(), ErrorCode::AUTH);
        assert!(error.message().contains("OPENAI_API_KEY"));
        assert!(!error.message().contains("sk-123"));
        let error = status(429, "insufficient_quota").into_error(&settings, 1);
        assert_eq!(error.code(), ErrorCode::AUTH);
        let error = status(429, "").into_error(&settings, 6);
        assert_eq!(error.code(), ErrorCode::RATE_LIMITED);
        assert!(error.message().contains("after 6 attempts"));
    }
}
