//! One request to a worker of its own, events back, an exit code.

use std::io::BufReader;

use harness_plan::{
    exit,
    jobs::{Event, Job},
    protocol::{ProtocolError, read_message, write_message},
};

use super::{Excess, Launch, Tail, end};
use crate::failure::Failure;

/// How a job ended.
#[derive(Debug)]
pub enum Ended {
    /// It answered with an exit code of [`harness_plan::exit`].
    Code(u8),
    /// Its process died; what is known about it.
    Died(String),
}

/// Run a job, handing each event to `on_event` as it comes.
///
/// # Errors
/// When no worker can be started, it does not speak the protocol, or `on_event` fails; the worker is ended then.
pub fn run_job(
    launch: &Launch,
    job: &Job,
    mut on_event: impl FnMut(Event) -> Result<(), Failure>,
) -> Result<Ended, Failure> {
    let worker = launch.start("job")?;
    let lost = || Failure::new(exit::UNEXPECTED, "a worker started without pipes");
    let mut stdin = worker.child().stdin.take().ok_or_else(lost)?;
    let stdout = worker.child().stdout.take().ok_or_else(lost)?;
    let tail = Tail::of(worker.child().stderr.take().ok_or_else(lost)?);

    // A worker that died at once has closed the pipe; how it ended says more than this error.
    let is_asked = write_message(&mut stdin, job).is_ok();
    let mut stdout = BufReader::new(stdout);
    let mut has_spoken = false;
    loop {
        match read_message::<Event>(&mut stdout) {
            Ok(None) => break,
            Ok(Some(event)) => {
                has_spoken = true;
                on_event(event)?;
            }
            Err(ProtocolError::Io(_)) => break,
            Err(error) => {
                return Err(Failure::new(exit::UNEXPECTED, error.to_string())
                    .hint("host and worker must be of one build: `cargo xtask build`"));
            }
        }
    }
    drop(stdin);
    let status = worker
        .wait()
        .map_err(|error| Failure::new(exit::UNEXPECTED, format!("the worker was lost: {error}")))?;
    let stderr = tail.finish();
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) if has_spoken || (is_asked && code == exit::OK) => Ok(Ended::Code(code)),
        Some(_) => Err(end::never_spoke(status, &stderr)),
        None => Ok(Ended::Died(match worker.excess() {
            Some(Excess::Time(time)) => format!("it did not end in {} s", time.as_secs()),
            _ => end::death(status, &stderr),
        })),
    }
}
