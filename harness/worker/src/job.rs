//! One job: a request on standard input, events on standard output, an exit code.

use std::{
    io::{self, BufRead, Write},
    sync::atomic::Ordering,
};

use harness_conformance::{check, golden};
use harness_contract::{
    exit,
    jobs::{Event, Job},
    protocol::{Failure, FailureKind},
};
use harness_engine::{
    error::CellError,
    jobs::{Sink, StopRequested, doctor, generate, plugins},
};

use crate::stop;

/// Reads one request, runs it, and returns the exit code.
pub fn serve() -> u8 {
    let mut sink = |event: Event| {
        let mut out = io::stdout().lock();
        if let Ok(line) = serde_json::to_string(&event) {
            // The supervisor is gone when this fails; the job then ends at its next read or write.
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                std::process::exit(i32::from(exit::INTERRUPTED));
            }
        }
    };
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    let request: Result<Job, String> = read
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str(&line).map_err(|error| error.to_string()));
    match request {
        Ok(job) if job.can_stop() => {
            let asked = stop::watch();
            run(&job, &|| asked.load(Ordering::Relaxed), &mut sink)
        }
        Ok(job) => run(&job, &|| false, &mut sink),
        Err(error) => {
            let message = format!("the request cannot be read: {error}");
            sink(Event::Failed(Failure::new(FailureKind::Internal, message)));
            exit::UNEXPECTED
        }
    }
}

/// Runs a job and returns its exit code; a failure has been sent as an event by then. A job that
/// can stop looks at `stop_requested`.
fn run(job: &Job, stop_requested: StopRequested<'_>, sink: Sink<'_>) -> u8 {
    let done = match job {
        Job::Plugins(job) => plugins::run(job, sink),
        Job::Golden(job) => golden::run(job, sink),
        Job::Train(job) => harness_training::run(job, stop_requested, sink),
        Job::Generate(job) => generate::run(job, sink),
        Job::Doctor(job) => Ok(doctor::run(job, sink)),
        Job::Check(job) => check::run(job, sink),
    };
    done.unwrap_or_else(|error| failed(&error, sink))
}

/// Sends a failure, and returns its exit code.
fn failed(error: &CellError, sink: Sink<'_>) -> u8 {
    let failure = error.failure(None);
    // A plugin at fault is no bug of ours, but a job has no other cells that could go on.
    let code = match failure.kind {
        FailureKind::Plugin => exit::PLUGIN_REFUSED,
        kind => kind.exit_code(),
    };
    sink(Event::Failed(failure));
    code
}
