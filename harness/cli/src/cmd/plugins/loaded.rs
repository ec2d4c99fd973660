//! What a worker says of plugins that it has opened: opening them is the only way to know that they load.

use std::path::PathBuf;

use harness_plan::{
    exit,
    jobs::{Event, Job, PluginsJob},
};
use serde_json::Value;

use crate::{
    failure::Failure,
    output,
    worker::{Ended, Launch, run_job},
};

/// Plugins that were opened, and those that were refused, as the worker describes them.
pub struct Loaded {
    /// `{loaded: [...], refused: [...]}`.
    pub value: Value,
}

impl Loaded {
    /// Open the plugins of some folders.
    ///
    /// # Errors
    /// When there is no worker, or a plugin took it down.
    pub fn of(plugins: Vec<PathBuf>) -> Result<Loaded, Failure> {
        let launch = Launch::new(1, false)?;
        let mut value = None;
        let mut failure = None;
        let ended = run_job(&launch, &Job::Plugins(PluginsJob { plugins }), |event| {
            match event {
                Event::Result { value: got } => value = Some(got),
                Event::Failed(why) => failure = Some(why),
                Event::Log { message, .. } => output::talk(&message),
                Event::Progress { .. } => {}
            }
            Ok(())
        })?;
        match (failure, value, ended) {
            (Some(failure), _, _) => Err(failure.into()),
            (None, Some(value), _) => Ok(Loaded { value }),
            (None, None, Ended::Died(message)) => {
                let message = format!("opening a plugin ended its process: {message}");
                Err(Failure::new(exit::PLUGIN_REFUSED, message)
                    .hint("open them one by one with --plugins to find it"))
            }
            (None, None, Ended::Code(code)) => Err(Failure::new(
                exit::UNEXPECTED,
                format!("the worker said nothing and ended with exit code {code}"),
            )),
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

/// A text of the worker's answer, inert; empty when there is none.
pub fn text(value: &Value) -> String {
    output::inert(value.as_str().unwrap_or_default())
}
