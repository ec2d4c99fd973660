//! How a command ends when it cannot do what was asked: exit code, message, and what to do next.

use std::{fmt, io, path::Path};

use harness_contract::{config::ConfigError, exit, jobs::Problem, protocol};
use harness_plan::{bench::BenchError, expand::PlanError, shards::ShardsError};
use harness_store::StoreError;
use harness_weights::InputError;

use crate::output;

/// Why a command ends early.
#[derive(Debug)]
pub struct Failure {
    /// Exit code, of [`harness_contract::exit`].
    pub code: u8,
    message: String,
    hint: String,
}

impl Failure {
    /// A failure with an exit code and a message that says what and where.
    pub fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure {
            code,
            message: message.into(),
            hint: String::new(),
        }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = hint.into();
        self
    }

    /// The same with what to do next, unless that is said already.
    #[must_use]
    pub fn or_hint(self, hint: impl Into<String>) -> Failure {
        match self.hint.is_empty() {
            true => self.hint(hint),
            false => self,
        }
    }

    /// A file that cannot be written.
    pub fn cannot_write(path: &Path, error: &io::Error) -> Failure {
        Failure::new(
            exit::CANNOT_WRITE,
            format!("cannot write to {}: {error}", path.display()),
        )
    }

    /// The reader of standard output has gone: not an error, and nothing is left to say.
    pub fn reader_gone() -> Failure {
        Failure::new(exit::OK, "")
    }

    /// What happened, and where.
    pub fn what(&self) -> &str {
        &self.message
    }

    /// As a report on this machine lists it.
    pub fn problem(&self) -> Problem {
        Problem {
            what: self.message.clone(),
            cure: self.hint.clone(),
            exit_code: self.code,
        }
    }

    /// Say it on standard error.
    pub fn tell(&self) {
        if !self.message.is_empty() {
            output::talk(&self.to_string());
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Messages name tensors, keys and paths from outside.
        let sanitize = output::sanitize;
        write!(f, "{} {}", output::red("error:"), sanitize(&self.message))?;
        if !self.hint.is_empty() {
            write!(f, "\n{} {}", output::bold("hint:"), sanitize(&self.hint))?;
        }
        Ok(())
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Failure {
        Failure::new(error.exit_code(), error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::new(exit::CONFIG, error.to_string())
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Failure {
        Failure::new(error.exit_code(), error.to_string())
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Failure {
        Failure::new(exit::BAD_INPUT, error.to_string())
    }
}

impl From<ShardsError> for Failure {
    fn from(error: ShardsError) -> Failure {
        Failure::new(error.exit_code(), output::sanitize(&error.to_string()))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::new(error.exit_code(), error.to_string())
    }
}

impl From<protocol::Failure> for Failure {
    fn from(failure: protocol::Failure) -> Failure {
        Failure::new(failure.kind.exit_code(), failure.told())
    }
}

impl From<harness_supervise::Error> for Failure {
    fn from(error: harness_supervise::Error) -> Failure {
        Failure {
            code: error.code,
            message: error.message,
            hint: error.hint,
        }
    }
}

/// Results could not be written to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::reader_gone(),
            _ => Failure::new(
                exit::CANNOT_WRITE,
                format!("cannot write to standard output: {error}"),
            ),
        }
    }
}
