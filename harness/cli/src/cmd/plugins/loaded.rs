//! What a worker says of plugins that it has opened: opening them is the only way to know that they
//! load.

use harness_contract::{exit, plugin::PluginChoice};
use serde_json::Value;

use crate::{
    failure::Failure,
    output,
    plugins::{Answer, Plugins, open},
};

/// Plugins that were opened, and those that were refused, as the worker describes them.
pub struct Loaded {
    /// `{loaded: [...], refused: [...]}`.
    pub value: Value,
}

impl Loaded {
    /// Open plugins, all in one process, as a bench does. Those whose opening ends a process are
    /// refused.
    ///
    /// # Errors
    /// When there is no worker, or a folder cannot be read.
    pub fn of(choice: PluginChoice) -> Result<Loaded, Failure> {
        let choice = Plugins::find(choice)?.look()?.choice;
        match open(&choice, false)? {
            Answer::Said(value) => Ok(Loaded { value }),
            Answer::Died { message, .. } => {
                let message = format!("opening these plugins ended a process: {message}");
                Err(Failure::new(exit::PLUGIN_REFUSED, message)
                    .hint("give them one by one with --plugins to see which it is"))
            }
        }
    }

    /// Plugins that were opened.
    pub fn plugins(&self) -> &[Value] {
        self.value["loaded"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Plugins that were refused.
    pub fn refused(&self) -> &[Value] {
        self.value["refused"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Tell which were refused and why, and return the exit code.
    pub fn tell_refused(&self) -> u8 {
        for refused in self.refused() {
            let id = match text(&refused["id"]) {
                id if id.is_empty() => String::new(),
                id => format!(" (`{id}`)"),
            };
            output::talk(&format!(
                "{} {}{id}: {}",
                output::red("refused"),
                text(&refused["path"]),
                text(&refused["reason"])
            ));
        }
        if self.refused().is_empty() {
            exit::OK
        } else {
            exit::PLUGIN_REFUSED
        }
    }
}

/// A text of the worker's answer, sanitized; empty when there is none.
pub fn text(value: &Value) -> String {
    output::sanitize(value.as_str().unwrap_or_default())
}
