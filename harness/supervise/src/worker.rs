//! One worker that serves cells: it is started, greeted, given cells, listened to, and ended.

use std::{
    io::BufReader,
    os::unix::process::ExitStatusExt,
    process::{ChildStdin, ExitStatus},
    sync::mpsc::Sender,
    thread,
    time::Duration,
};

use harness_contract::{
    call_marker::CallMarker,
    cell::Cell,
    exit,
    protocol::{FromWorker, Init, ProtocolError, ToWorker, read_message, write_message},
    sanitize::sanitize,
};

use crate::{
    death::{Cause, Death},
    end::{self, Tail},
    error::Error,
    launch::Launch,
    watched::Watched,
};

/// Time a worker with nothing to do gets to end; a plugin's destructor may hang.
const FAREWELL: Duration = Duration::from_secs(10);

/// What the output of a worker says.
#[expect(
    clippy::large_enum_variant,
    reason = "it travels in the box of whoever is told"
)]
#[derive(Debug)]
pub enum WorkerEvent {
    Message(FromWorker),
    /// It has closed its standard output: it has ended, or will at once.
    Closed,
    /// It says something that is not of the protocol.
    Garbled(ProtocolError),
}

/// Why a worker was never ready.
pub enum NeverReady {
    /// A signal that nobody here has sent; what is known about it.
    Killed(String),
    /// It was asked to end, or cannot be used.
    Ended(Error),
}

pub struct Worker {
    process: Watched,
    stdin: Option<ChildStdin>,
    tail: Option<Tail>,
    /// Where it marks which plugin's method it runs.
    call_marker: Option<CallMarker>,
}

impl Worker {
    /// Start one and send it what it needs; every event of it goes to `events`, under `number`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<T: From<(u64, WorkerEvent)> + Send + 'static>(
        launch: &Launch,
        init: &Init,
        number: u64,
        events: Sender<T>,
    ) -> Result<Worker, Error> {
        let process = launch.start("serve")?;
        let lost = || Error::new(exit::UNEXPECTED, "a worker started without pipes");
        let stdin = process.child().stdin.take().ok_or_else(lost)?;
        let stdout = process.child().stdout.take().ok_or_else(lost)?;
        let tail = Tail::of(process.child().stderr.take().ok_or_else(lost)?);
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            loop {
                let event = match read_message(&mut stdout) {
                    Ok(Some(message)) => WorkerEvent::Message(message),
                    Ok(None) | Err(ProtocolError::Io(_)) => WorkerEvent::Closed,
                    Err(error) => WorkerEvent::Garbled(error),
                };
                let is_last = !matches!(event, WorkerEvent::Message(_));
                // Nobody listens any more once the run has ended.
                if events.send(T::from((number, event))).is_err() || is_last {
                    return;
                }
            }
        });
        let mut worker = Worker {
            process,
            stdin: Some(stdin),
            tail: Some(tail),
            // Without one less is known of its death, and nothing else is lost.
            call_marker: CallMarker::create().ok(),
        };
        worker.send(&ToWorker::Init(Init {
            call_marker: worker.call_marker.as_ref().map(CallMarker::path),
            ..init.clone()
        }))?;
        Ok(worker)
    }

    /// Send cells that are run together.
    ///
    /// # Errors
    /// When they cannot be put into a message.
    pub fn run(&mut self, cells: &[&Cell]) -> Result<(), Error> {
        self.send(&ToWorker::Run {
            cells: cells.iter().map(|cell| (*cell).clone()).collect(),
        })
    }

    /// Send a message. A worker that has died does not get it, and its closed output tells of its
    /// death.
    fn send(&mut self, message: &ToWorker) -> Result<(), Error> {
        let Some(stdin) = &mut self.stdin else {
            return Ok(());
        };
        match write_message(stdin, message) {
            // It would wait for the message for ever.
            Err(error @ ProtocolError::Unsendable(_)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// End it in its own time: it finishes what it is doing and reads the end of its input.
    pub fn shut_down(mut self) {
        // Nothing in this message cannot be sent, and the closed pipe says the same.
        let _ = self.send(&ToWorker::Shutdown {});
        self.stdin = None;
        self.process.wait_for(FAREWELL);
    }

    pub fn kill(&self) {
        self.process.kill();
    }

    /// Calls of plugins' methods so far: as long as they go on, it lives.
    pub fn calls(&self) -> u64 {
        self.call_marker.as_ref().map_or(0, CallMarker::calls)
    }

    /// How it ended, with its last words.
    fn autopsy(&mut self) -> (Option<ExitStatus>, String) {
        self.stdin = None;
        // Its output is closed; should it hang all the same, nothing more will come from it.
        self.process.kill();
        let status = self.process.wait().ok();
        let words = self.tail.take().map(Tail::finish).unwrap_or_default();
        (status, words)
    }

    /// End it, and say all that is known of its death.
    pub fn death(&mut self, cause: Cause) -> Death {
        let (status, words) = self.autopsy();
        Death {
            cause,
            status,
            words,
            excess: self.process.excess(),
            most_held: self.process.most_held(),
            step: self.call_marker.as_ref().and_then(CallMarker::last),
        }
    }

    /// End a worker that could not be used yet, and say how it died.
    pub fn never_ready(&mut self, cause: Cause) -> NeverReady {
        let death = self.death(cause);
        let was_stopped = death.excess.is_some() || !matches!(death.cause, Cause::Ended);
        match death.status {
            Some(status) if status.signal().is_none() => {
                NeverReady::Ended(end::never_spoke(status, &death.words))
            }
            Some(status) if !was_stopped && end::was_asked(status) => NeverReady::Ended(
                Error::new(exit::INTERRUPTED, "interrupted while starting")
                    .hint("the same command goes on"),
            ),
            Some(_) if !was_stopped => NeverReady::Killed(sanitize(&death.failure().told())),
            _ => NeverReady::Ended(
                Error::new(exit::UNEXPECTED, sanitize(&death.failure().told()))
                    .hint("no worker gets ready; `harness plugins list` looks at each plugin"),
            ),
        }
    }
}
