//! How a test ends.

use harness_engine::plugin::{ComponentError, ErrorCode, PluginFailure};
use serde::Serialize;

/// How a test ended. The supervisor adds `crashed` for a process that ended without saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// The law holds.
    Success,
    /// Allowed, yet likely a mistake.
    Warning,
    /// It could not be tested; the reason says why.
    Skipped,
    /// The law is broken.
    Failed,
}

/// A test with how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Outcome {
    /// The test's id.
    pub(super) test: String,
    pub(super) status: Status,
    /// Why; empty for a success.
    pub(super) reason: String,
}

/// An end other than success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) status: Status,
    pub(super) reason: String,
}

/// What a test returns; `?` ends it.
pub(super) type Checked = Result<(), Ended>;

impl Ended {
    pub(super) fn failed(reason: impl Into<String>) -> Self {
        Self {
            status: Status::Failed,
            reason: reason.into(),
        }
    }

    pub(super) fn warning(reason: impl Into<String>) -> Self {
        Self {
            status: Status::Warning,
            reason: reason.into(),
        }
    }

    pub(super) fn skipped(reason: impl Into<String>) -> Self {
        Self {
            status: Status::Skipped,
            reason: reason.into(),
        }
    }
}

impl From<PluginFailure> for Ended {
    fn from(failure: PluginFailure) -> Self {
        Self::failed(failure.to_string())
    }
}

impl From<ComponentError> for Ended {
    fn from(error: ComponentError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<Box<ComponentError>> for Ended {
    fn from(error: Box<ComponentError>) -> Self {
        Self::from(*error)
    }
}

impl From<tch::TchError> for Ended {
    fn from(error: tch::TchError) -> Self {
        Self::failed(format!("the test itself failed: {error}"))
    }
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Self {
        Self::failed(format!("the test itself failed: {error}"))
    }
}

/// Fails unless `holds`.
pub(super) fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(Ended::failed(reason()))
    }
}

/// What was asked must be refused, and not by a panic.
pub(super) fn ensure_refused<T>(what: &str, result: Result<T, PluginFailure>) -> Checked {
    match result {
        Ok(_) => Err(Ended::failed(format!("{what} is accepted"))),
        Err(failure) => no_panic(what, Err::<(), _>(failure)),
    }
}

/// The end of a test whose name no kind knows.
pub(super) fn unknown(test: &str) -> Checked {
    Err(Ended::failed(format!("no test `{test}`")))
}

/// Accepted or refused, but without a panic.
pub(super) fn no_panic<T>(what: &str, result: Result<T, PluginFailure>) -> Checked {
    match result {
        Err(failure) if failure.code == ErrorCode::PANIC => {
            Err(Ended::failed(format!("{what}: {failure}")))
        }
        _ => Ok(()),
    }
}
