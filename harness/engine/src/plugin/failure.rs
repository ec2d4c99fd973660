use std::{fmt, sync::Arc};

use abi_stable::std_types::RResult;
use harness_abi::{AbiResult, ErrorCode};

use super::call_marker::{self, Place};

/// A plugin's method failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("plugin `{plugin}`, {component}, {method}: {message}{}", Hint(.hint))]
pub struct PluginFailure {
    /// Identifier of the plugin.
    pub plugin: String,
    /// Kind and name of the component, e.g. `model `dream``.
    pub component: String,
    pub method: &'static str,
    /// Class of the failure.
    pub code: ErrorCode,
    /// What, where, why.
    pub message: String,
    /// What to do next, may be empty.
    pub hint: String,
    /// For a rate limit: milliseconds to wait, 0 when unknown.
    pub retry_after_ms: u64,
}

impl PluginFailure {
    /// What to tell of a file from outside: the plugin's own words where it speaks of the file; of
    /// any other failure the plugin is named.
    #[must_use]
    pub fn of_input(self) -> String {
        match self.code {
            ErrorCode::INPUT => self.message,
            _ => self.to_string(),
        }
    }
}

struct Hint<'a>(&'a str);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            Ok(())
        } else {
            write!(f, " (hint: {})", self.0)
        }
    }
}

/// Which component a handle belongs to.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) plugin: Arc<str>,
    pub(super) component: Arc<str>,
    place: Place,
}

impl Origin {
    pub(super) fn new(plugin: &str, component: &str) -> Self {
        Self {
            plugin: Arc::from(plugin),
            component: Arc::from(component),
            place: call_marker::place(plugin, component),
        }
    }

    /// Run a method of the plugin, and mark the call: should it end the process, the host
    /// knows which it was.
    #[inline]
    pub(super) fn follow<T>(&self, method: &'static str, call: impl FnOnce() -> T) -> T {
        call_marker::follow(self.place, method, call)
    }

    /// [`Origin::follow`] a method that may fail.
    #[inline]
    pub(super) fn call<T>(
        &self,
        method: &'static str,
        call: impl FnOnce() -> AbiResult<T>,
    ) -> Result<T, PluginFailure> {
        let result = self.follow(method, call);
        self.check(method, result)
    }

    pub(super) fn check<T>(
        &self,
        method: &'static str,
        result: AbiResult<T>,
    ) -> Result<T, PluginFailure> {
        match result {
            RResult::ROk(value) => Ok(value),
            RResult::RErr(error) => Err(PluginFailure {
                plugin: self.plugin.to_string(),
                component: self.component.to_string(),
                method,
                code: error.code,
                message: error.message.into(),
                hint: error.hint.into(),
                retry_after_ms: error.retry_after_ms,
            }),
        }
    }

    /// A failure the host itself found in what the plugin returned.
    pub(super) fn broken(&self, method: &'static str, message: String) -> PluginFailure {
        PluginFailure {
            plugin: self.plugin.to_string(),
            component: self.component.to_string(),
            method,
            code: ErrorCode::INTERNAL,
            message,
            hint: "this breaks the plugin interface; tell the plugin's author".to_owned(),
            retry_after_ms: 0,
        }
    }

    /// A failure of the host's own preparation, e.g. an allocation.
    pub(super) fn host(&self, method: &'static str, error: impl fmt::Display) -> PluginFailure {
        let message = error.to_string();
        let out_of_memory = message.contains("out of memory") || message.contains("can't allocate");
        PluginFailure {
            plugin: self.plugin.to_string(),
            component: self.component.to_string(),
            method,
            code: if out_of_memory {
                ErrorCode::OUT_OF_MEMORY
            } else {
                ErrorCode::INTERNAL
            },
            message,
            hint: String::new(),
            retry_after_ms: 0,
        }
    }
}
