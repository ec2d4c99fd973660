//! What can go wrong with one attempt, and what follows from it.

use std::time::Duration;

use harness_sdk::{Error, ErrorCode};

use crate::{
    cause::{Cause, cause},
    form::{Field, Form},
    said::Said,
    settings::{API_KEY, BASE_URL, MODEL, Settings},
};

/// Attempts at a server that nobody has reached yet: what is mistyped does not become right by
/// waiting.
const FIRST_ATTEMPTS: u32 = 3;

/// Why an attempt gave no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The server answered with an error.
    Status {
        status: u16,
        /// What its body says.
        said: Said,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
        /// Whether it says that trying again helps (`x-should-retry`).
        should_retry: Option<bool>,
    },
    /// No answer in time.
    Timeout(Duration),
    /// No connection came about: a closed port, an unknown host, a certificate that is not trusted.
    Unreachable(String),
    /// The connection broke, or what came is no reply of such a server.
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
    /// The server's filter stopped the answer.
    Filtered,
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
    /// This request has failed; other requests tell whether every one would.
    Doubt,
}

impl Failure {
    /// An error answer without headers.
    pub fn of_status(status: u16, said: Said) -> Failure {
        Failure::Status {
            status,
            said,
            retry_after: None,
            should_retry: None,
        }
    }

    /// What the server's error means, where it answered with one.
    fn cause(&self) -> Option<Cause> {
        match self {
            Self::Status { status, said, .. } => Some(cause(*status, said)),
            _ => None,
        }
    }

    /// What follows.
    pub fn verdict(&self) -> Verdict {
        let should_retry = match self {
            Self::Status { should_retry, .. } => *should_retry,
            _ => None,
        };
        match (self.cause(), should_retry) {
            (Some(Cause::Account | Cause::Model | Cause::Parameter), _) => Verdict::Stop,
            // A page in place of an answer may be a gateway's in passing.
            (Some(Cause::Address), _) if self.is_success() => Verdict::Again,
            (Some(Cause::Address), _) => Verdict::Stop,
            (Some(_), Some(true)) => Verdict::Again,
            (Some(Cause::Limit | Cause::Fault), None) => Verdict::Again,
            (Some(Cause::Unclear), _) => Verdict::Doubt,
            (Some(_), _) => Verdict::Give,
            (None, _) => match self {
                Self::Refusal(_) | Self::Filtered | Self::Request(_) => Verdict::Give,
                _ => Verdict::Again,
            },
        }
    }

    fn is_success(&self) -> bool {
        matches!(
            self,
            Self::Status {
                status: 200..=299,
                ..
            }
        )
    }

    /// Whether no answer came for a reason outside the question, which may pass.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Unreachable(_) | Self::Connection(_) => true,
            Self::Status { .. } => match self.cause() {
                Some(Cause::Limit | Cause::Fault) => true,
                Some(Cause::Address) => self.is_success(),
                _ => false,
            },
            _ => false,
        }
    }

    /// Attempts that are made at most of the usual number; fewer where nothing has been answered
    /// yet and what fails is the way to the server.
    pub fn most_attempts(&self, usual: u32, has_answered: bool) -> u32 {
        match self.is_lost() && !has_answered {
            true => usual.min(FIRST_ATTEMPTS),
            false => usual,
        }
    }

    /// Whether the way to the server is wrong, as far as one attempt can tell.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            _ => self.cause() == Some(Cause::Address),
        }
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The field of a request's form that the server refuses, and its words.
    pub fn objection(&self, form: Form) -> Option<(Field, &Said)> {
        match self {
            Self::Status { said, .. } => {
                let may_be = [Cause::Model, Cause::Parameter, Cause::Unclear];
                let is_about_form = self.cause().is_some_and(|cause| may_be.contains(&cause));
                Some((form.named(said).filter(|_| is_about_form)?, said))
            }
            _ => None,
        }
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
            0 | 1 => String::new(),
            n => format!(" after {n} attempts"),
        };
        let error = match &self {
            Self::Status {
                status,
                said,
                retry_after,
                ..
            } => {
                let number = match (self.is_success(), said.status) {
                    (true, Some(own)) => format!("{status} with an error {own}"),
                    (true, None) => format!("{status} with an error"),
                    (false, _) => status.to_string(),
                };
                let label = said.label();
                let label = match label.is_empty() || label.parse::<u16>().is_ok() {
                    true => String::new(),
                    false => format!(" {label}"),
                };
                let message = match said.message.is_empty() {
                    true => "it says no more",
                    false => &said.message,
                };
                let text = format!("{host} answered {number}{label}{tried}: {message}");
                of_cause(cause(*status, said), *status, text, *retry_after, settings)
            }
            Self::Timeout(limit) => Error::new(
                ErrorCode::NETWORK,
                format!("{host} gave no answer in {} s{tried}", limit.as_secs_f64()),
            ),
            Self::Unreachable(what) => Error::new(
                ErrorCode::NETWORK,
                format!("{host} cannot be reached{tried}: {what}"),
            )
            .hint(format!("is the server up, and {BASE_URL} right?")),
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
            Self::Filtered => Error::new(
                ErrorCode::FILTERED,
                format!("a content filter of {host} stopped the answer"),
            ),
            Self::Request(what) => Error::invalid(what.clone()),
        };
        // Servers repeat keys in their messages.
        error.map_message(|text| settings.redact(text))
    }
}

fn of_cause(
    cause: Cause,
    status: u16,
    text: String,
    retry_after: Option<Duration>,
    settings: &Settings,
) -> Error {
    let model = &settings.model;
    match cause {
        Cause::Account if matches!(status, 401 | 403 | 407) => Error::new(
            ErrorCode::AUTH,
            format!("{text} (the key is from {API_KEY})"),
        )
        .hint(format!("check the key in {API_KEY}, and what its account may use")),
        Cause::Account => Error::new(
            ErrorCode::AUTH,
            format!("{text} (the account of the key in {API_KEY})"),
        )
        .hint("add credit to the account, or go without it: --judge lexical works offline, --judge replay answers from kept replies"),
        Cause::Model => Error::config(text).hint(format!(
            "does the server have the model `{model}`? --judge-model or {MODEL} names another"
        )),
        // A page with status 200 may be a gateway's in passing: only a server that has never
        // answered is taken to lie elsewhere, and that is for the whole call to say.
        Cause::Address => Error::new(
            match status {
                200..=299 => ErrorCode::NETWORK,
                _ => ErrorCode::CONFIG,
            },
            text,
        )
        .hint(format!(
            "is {BASE_URL} right? it is the address below which /chat/completions lies, and ends in /v1 at most servers"
        )),
        Cause::Parameter => Error::config(text).hint(format!(
            "every question carries this; another model ({MODEL}) or server ({BASE_URL}) may take it"
        )),
        Cause::Filter => Error::new(ErrorCode::FILTERED, text),
        Cause::TooLong => Error::new(ErrorCode::TOO_LONG, text),
        Cause::Limit => {
            let wait = retry_after.map_or(0, |wait| wait.as_millis());
            Error::new(ErrorCode::RATE_LIMITED, text)
                .retry_after_ms(u64::try_from(wait).unwrap_or(u64::MAX))
        }
        Cause::Fault => Error::new(ErrorCode::NETWORK, text),
        Cause::Unclear => Error::invalid(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(status: u16, code: &str) -> Failure {
        let body = json!({"error": {"message": "said sk-123 is wrong", "code": code}});
        Failure::of_status(status, Said::of_body(&body.to_string()))
    }

    fn settings() -> Settings {
        let env = |name: &str| (name == API_KEY).then(|| "sk-123".to_owned());
        Settings::resolve(&json!({}), env).unwrap()
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for code in [408, 409, 429, 500, 502, 503, 529] {
            assert_eq!(status(code, "").verdict(), Verdict::Again, "{code}");
        }
        for code in [401, 402, 403, 404, 405] {
            assert_eq!(status(code, "").verdict(), Verdict::Stop, "{code}");
        }
        assert_eq!(status(429, "insufficient_quota").verdict(), Verdict::Stop);
        assert_eq!(status(400, "model_not_found").verdict(), Verdict::Stop);
        for code in [400, 422] {
            assert_eq!(status(code, "").verdict(), Verdict::Doubt, "{code}");
            assert_eq!(status(code, "content_filter").verdict(), Verdict::Give);
        }
        assert_eq!(status(413, "").verdict(), Verdict::Give);
        // A page in passing is asked for again, at an address that has never answered only a few
        // times.
        let page = Failure::of_status(200, Said::of_body("<html>"));
        assert_eq!(page.verdict(), Verdict::Again);
        let attempts = |has_answered| page.most_attempts(6, has_answered);
        assert_eq!((attempts(false), attempts(true)), (3, 6));
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
        let settings = settings();
        let error = status(401, "invalid_api_key").into_error(&settings, 1);
        assert_eq!(error.code(), ErrorCode::AUTH);
        assert!(error.message().contains("OPENAI_API_KEY"));
        assert!(!error.message().contains("sk-123"));
        let error = status(402, "").into_error(&settings, 1);
        assert_eq!(error.code(), ErrorCode::AUTH);
        let error = status(429, "").into_error(&settings, 6);
        assert_eq!(error.code(), ErrorCode::RATE_LIMITED);
        assert!(error.message().contains("after 6 attempts"));
        let error = status(400, "context_length_exceeded").into_error(&settings, 1);
        assert_eq!(error.code(), ErrorCode::TOO_LONG);
    }
}
