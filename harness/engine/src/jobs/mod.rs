//! Jobs other than cells: one request, events, an exit code.

mod doctor;
mod generate;
mod golden;
mod plugins;

use std::path::Path;

use harness_contract::{
    exit,
    jobs::{Compute, Event, Job},
    protocol::{FailureKind, LogLevel},
};

use crate::{
    plugin::{LoadOptions, ModelInfo},
    run::CellError,
    text::{ExpectedIds, TextCodec},
};

/// Where events go.
pub type Sink<'a> = &'a mut dyn FnMut(Event);

/// Whether somebody has asked a job to stop.
pub type IsAsked<'a> = &'a dyn Fn() -> bool;

/// Runs a job and returns its exit code; a failure has been told as an event by then. A job that
/// can stop looks at `is_asked`.
pub fn run(job: Job, is_asked: IsAsked<'_>, sink: Sink<'_>) -> u8 {
    let done = match job {
        Job::Plugins(job) => plugins::run(&job, sink),
        Job::Golden(job) => golden::run(&job, sink),
        Job::Train(job) => crate::train::run(&job, is_asked, sink),
        Job::Generate(job) => generate::run(&job, sink),
        Job::Doctor(job) => doctor::run(&job, sink),
        Job::Check(job) => crate::check::run(&job, sink).map_err(|error| unreadable(&error)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let failure = error.failure(None);
            // A plugin at fault is no bug of ours, but a job has no other cells that could go on.
            let code = match failure.kind {
                FailureKind::Plugin => exit::PLUGIN_REFUSED,
                kind => kind.exit_code(),
            };
            sink(Event::Failed(failure));
            code
        }
    }
}

/// Failure to read a folder of plugins.
pub(crate) fn unreadable(error: &std::io::Error) -> CellError {
    CellError::Invalid(format!(
        "the folders of plugins cannot be searched: {error}"
    ))
}

/// Where a job's model runs.
pub(crate) fn options(compute: &Compute) -> Result<LoadOptions, CellError> {
    tch::set_num_threads(i32::try_from(compute.threads).unwrap_or(1).max(1));
    Ok(LoadOptions {
        device: crate::device::parse(&compute.device)?,
        kind: crate::device::kind(compute.dtype),
        allow_nan: false,
    })
}

/// The tokenizer of a job's model, compared with the model; what its files leave open is told.
pub(crate) fn tokenizer(
    dir: &Path,
    info: &ModelInfo,
    sink: Sink<'_>,
) -> Result<TextCodec, CellError> {
    let codec = TextCodec::load(dir)?;
    for message in codec.notes() {
        sink(Event::Log {
            level: LogLevel::Warn,
            message,
        });
    }
    codec.check_model(&ExpectedIds::from(info))?;
    Ok(codec)
}
