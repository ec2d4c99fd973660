//! Why workers cannot be had or cannot go on.

use std::fmt;

use harness_contract::{
    exit,
    protocol::{self, ProtocolError},
};

/// What to do about a path that is not UTF-8.
pub const RENAME: &str = "rename it, or copy what is in it to a folder whose name is in UTF-8";

/// An error, with the exit code that it gives a command and what to do next.
#[derive(Debug)]
pub struct Error {
    /// Of [`harness_contract::exit`].
    pub code: u8,
    pub message: String,
    /// Empty where it is not known.
    pub hint: String,
}

impl Error {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Error {
        Error {
            code,
            message: message.into(),
            hint: String::new(),
        }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<protocol::Failure> for Error {
    fn from(failure: protocol::Failure) -> Error {
        Error::new(failure.kind.exit_code(), failure.told())
    }
}

/// A message to or from a worker that is none.
impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Error {
        match error {
            ProtocolError::Unsendable(_) => Error::new(exit::USAGE, error.to_string()).hint(RENAME),
            _ => Error::new(exit::UNEXPECTED, error.to_string())
                .hint("host and worker must be of one build: `cargo xtask build`"),
        }
    }
}
