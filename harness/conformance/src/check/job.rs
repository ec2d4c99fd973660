//! Running tests for `harness plugins check`.

use harness_contract::{
    exit,
    jobs::{CheckJob, Event},
};
use harness_engine::{
    error::CellError,
    jobs::{Sink, unreadable},
};
use serde_json::json;

use super::{
    component, kind, library,
    list::{self, Parsed},
    subject::Subject,
    verdict::{Checked, Ended, Outcome, Status},
};

/// Runs a check job: lists the tests as events of the form `{"test", "about"}`, refused plugins as
/// `{"refused", "id", "reason"}`; or runs the one test asked for and sends its outcome.
///
/// Returns the exit code: 21 when a plugin is refused or the test fails.
///
/// # Errors
/// A folder that cannot be read.
pub fn run(job: &CheckJob, sink: Sink<'_>) -> Result<u8, CellError> {
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
    let listing = list::tests(&job.plugins).map_err(|error| unreadable(&error))?;
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
fn run_one(job: &CheckJob, id: &str) -> Outcome {
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
        return library::run(test, &plugin);
    };
    let subject = Subject {
        registry: library::open(&plugin)?,
        name,
        model_dir: job.model_dir.as_deref(),
        sae_dir: job.sae_dir.as_deref(),
    };
    if component::TESTS.iter().any(|(known, _)| *known == test) {
        return component::run(test, kind, &subject);
    }
    match kind::of(kind) {
        Some(tests) => (tests.run)(test, &subject),
        None => Err(Ended::failed(format!("no tests for the kind `{kind}`"))),
    }
}
