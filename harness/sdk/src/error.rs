use harness_abi::{ErrorCode, PluginError};

/// Result of a plugin method.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure a plugin reports. Any `std::error::Error` converts into one with `?`.
///
/// It does not implement `std::error::Error` itself, so that the blanket conversion can exist.
#[derive(Debug, Clone)]
pub struct Error {
    code: ErrorCode,
    message: String,
    hint: String,
    retry_after_ms: u64,
}

impl Error {
    /// A failure of the given class; `message` is a lower-case fragment with its operands.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: String::new(),
            retry_after_ms: 0,
        }
    }

    /// An argument breaks the contract.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::INVALID_ARGUMENT, message)
    }

    /// The component does not offer the operation.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::UNSUPPORTED, message)
    }

    /// The component's configuration is wrong.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::CONFIG, message)
    }

    /// A file from outside is missing or damaged.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::INPUT, message)
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// For a rate limit: how long to wait.
    #[must_use]
    pub fn retry_after_ms(mut self, milliseconds: u64) -> Self {
        self.retry_after_ms = milliseconds;
        self
    }

    /// The same failure in other words.
    #[must_use]
    pub fn map_message(mut self, words: impl FnOnce(&str) -> String) -> Self {
        self.message = words(&self.message);
        self
    }

    /// Class of the failure.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What, where, why.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_abi(self) -> PluginError {
        PluginError {
            code: self.code,
            message: self.message.into(),
            hint: self.hint.into(),
            retry_after_ms: self.retry_after_ms,
        }
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.contains(&cause_text) {
                message.push_str(": ");
                message.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self::new(ErrorCode::INTERNAL, message)
    }
}
