//! What a worker says of plugins that it has opened: opening them is the only way to know that they load.

use std::path::{Path, PathBuf};

use harness_plan::{
    exit,
    jobs::{Event, Job, PluginsJob},
    plugin::discover,
};
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    output, root,
    worker::{Ended, Launch, run_job},
};

/// Plugins that were opened, and those that were refused, as the worker describes them.
pub struct Loaded {
    /// `{loaded: [...], refused: [...]}`.
    pub value: Value,
}

impl Loaded {
    /// Open the plugins of some folders: all in one process, as a bench does, or, when that process dies, each in one
    /// of its own, so that only those at fault are missing.
    ///
    /// # Errors
    /// When there is no worker, or a folder cannot be read.
    pub fn of(plugins: Vec<PathBuf>) -> Result<Loaded, Failure> {
        let launch = Launch::new(1, false)?;
        match open(&launch, plugins.clone())? {
            Opened::Answer(value) => Ok(Loaded { value }),
            Opened::Died(_) => one_by_one(&launch, &plugins),
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

/// What became of a worker that opened plugins.
enum Opened {
    /// Its answer.
    Answer(Value),
    /// It died.
    Died(String),
}

fn open(launch: &Launch, plugins: Vec<PathBuf>) -> Result<Opened, Failure> {
    let mut value = None;
    let mut failure = None;
    let ended = run_job(launch, &Job::Plugins(PluginsJob { plugins }), |event| {
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
        (None, Some(value), _) => Ok(Opened::Answer(value)),
        (None, None, Ended::Died(message)) => Ok(Opened::Died(message)),
        (None, None, Ended::Code(code)) => Err(Failure::new(
            exit::UNEXPECTED,
            format!("the worker said nothing and ended with exit code {code}"),
        )),
    }
}

fn one_by_one(launch: &Launch, plugins: &[PathBuf]) -> Result<Loaded, Failure> {
    let executable = root::executable()?;
    let discovery = discover(plugins, executable.parent()).map_err(|error| {
        Failure::new(
            exit::BAD_INPUT,
            format!("the folders of plugins cannot be searched: {error}"),
        )
    })?;
    let mut loaded = Vec::new();
    let mut refused: Vec<Value> = discovery
        .refused
        .iter()
        .map(|plugin| json!({"path": plugin.path, "id": plugin.id, "reason": plugin.reason}))
        .collect();
    for plugin in discovery.found {
        let folder = plugin
            .manifest_path
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default();
        match open(launch, vec![folder])? {
            Opened::Answer(mut value) => {
                for (list, name) in [(&mut loaded, "loaded"), (&mut refused, "refused")] {
                    if let Value::Array(items) = value[name].take() {
                        list.extend(items);
                    }
                }
            }
            Opened::Died(message) => refused.push(json!({
                "path": plugin.manifest_path,
                "id": plugin.manifest.id,
                "reason": format!("opening it ended its process: {message}"),
            })),
        }
    }
    Ok(Loaded {
        value: json!({"loaded": loaded, "refused": refused}),
    })
}

/// A text of the worker's answer, inert; empty when there is none.
pub fn text(value: &Value) -> String {
    output::inert(value.as_str().unwrap_or_default())
}
