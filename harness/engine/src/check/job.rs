//! Running tests for `harness plugins check`.

use std::{io, path::Path};

use harness_contract::{
    exit,
    jobs::{CheckJob, Event},
};
use serde_json::json;

use super::{
    list::{self, Parsed},
    verdict::{Checked, Ended, Outcome, Status},
};
use crate::plugin::Registry;

/// What the tests of a component share.
pub(super) struct Subject<'a> {
    pub(super) registry: Registry,
    /// Name of the component.
    pub(super) name: &'a str,
    /// A checkpoint, for models.
    pub(super) model_dir: Option<&'a Path>,
    /// An SAE, for architectures.
    pub(super) sae_dir: Option<&'a Path>,
}

/// Runs a check job: lists the tests as events of the form `{"test", "about"}`, refused plugins as
/// `{"refused", "id", "reason"}`; or runs the one test asked for and tells its [`Outcome`].
///
/// Returns the exit code: 21 when a plugin is refused or the test fails.
///
/// # Errors
/// A folder that cannot be read.
pub fn run(job: &CheckJob, sink: &mut dyn FnMut(Event)) -> io::Result<u8> {
    if let Some(test) = &job.test {
        let outcome = run_one(job, test);
        let code = match outcome.status {
            Status::Failed => exit::PLUGIN_REFUSED,
            _ => exit::OK,
        };
        sink(Event::Result {
            value: json!(outcome),
        });
        return Ok(code);
    }
    let listing = list::tests(&job.plugins)?;
    for test in &listing.tests {
        sink(Event::Result { value: json!(test) });
    }
    for plugin in &listing.refused {
        sink(Event::Result {
            value: json!({
                "refused": plugin.path,
                "id": plugin.id,
                "reason": plugin.reason,
            }),
        });
    }
    Ok(if listing.refused.is_empty() {
        exit::OK
    } else {
        exit::PLUGIN_REFUSED
    })
}

/// Runs one test in this process; `id` as in the listing.
#[must_use]
pub fn run_one(job: &CheckJob, id: &str) -> Outcome {
    let (status, reason) = match dispatch(job, id) {
        Ok(()) => (Status::Success, String::new()),
        Err(Ended { status, reason }) => (status, reason),
    };
    Outcome {
        test: id.to_owned(),
        status,
        reason,
    }
}

fn dispatch(job: &CheckJob, id: &str) -> Checked {
    // Results must not depend on how work is shared between threads.
    tch::set_num_threads(1);
    let Parsed {
        plugin,
        component,
        name: test,
    } = list::parse(&job.plugins, id).map_err(Ended::failed)?;
    let Some((kind, name)) = component else {
        return super::library::run(test, &plugin);
    };
    let subject = Subject {
        registry: super::library::open(&plugin)?,
        name,
        model_dir: job.model_dir.as_deref(),
        sae_dir: job.sae_dir.as_deref(),
    };
    if super::component::TESTS
        .iter()
        .any(|(known, _)| *known == test)
    {
        return super::component::run(test, kind, &subject);
    }
    match kind {
        "model" => super::model::run(test, &subject),
        "sae" => super::sae::run(test, &subject),
        "remasker" => super::remasker::run(test, &subject),
        "steering" => super::steering::run(test, &subject),
        "metric" => super::metric::run(test, &subject),
        "judge" => super::judge::run(test, &subject),
        other => Err(Ended::failed(format!("no tests for the kind `{other}`"))),
    }
}

/// The end of a test whose name no kind knows.
pub(super) fn unknown(test: &str) -> Checked {
    Err(Ended::failed(format!("no test `{test}`")))
}
