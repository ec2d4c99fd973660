//! One request to a worker of its own, events back, an exit code.

use std::{
    io::{BufReader, Write},
    process::{ChildStdin, ChildStdout},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use harness_contract::{
    exit,
    jobs::{Event, Job, STOP},
    protocol::{ProtocolError, read_message, write_message},
    signals::{self, Request},
};

use crate::{
    end::{self, Tail},
    error::Error,
    launch::Launch,
    watched::{Excess, Watched},
};

/// How often it is looked whether the worker is still there.
const TICK: Duration = Duration::from_millis(200);
/// Time that an ended worker's last events get to come. A process it has started may hold its
/// output open for ever.
const LAST_EVENTS: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub enum Ended {
    /// It answered with an exit code of [`harness_contract::exit`].
    Code(u8),
    /// Its process died; what is known about it.
    Died(String),
}

/// What happens to a job.
#[derive(Debug)]
pub enum JobEvent {
    Event(Event),
    /// It was asked to stop, and will when it has kept what it has done.
    Stopping,
    /// Nothing has happened for a moment.
    Quiet,
}

/// What reaches the listener, from the worker and from signals.
enum Incoming {
    Event(Event),
    /// Its output has ended, or broken.
    Closed,
    Garbled(ProtocolError),
    StopRequest(Request),
}

/// Run a job, handing each event to `on_event` as it comes.
///
/// # Errors
/// As [`run_watched`].
pub fn run_job<E: From<Error>>(
    launch: &Launch,
    job: &Job,
    mut on_event: impl FnMut(Event) -> Result<(), E>,
) -> Result<Ended, E> {
    run_watched(launch, job, |event| match event {
        JobEvent::Event(event) => on_event(event),
        JobEvent::Stopping | JobEvent::Quiet => Ok(()),
    })
}

/// Run a job, handing on all that happens to it. One that can stop is asked to by signals (see
/// [`signals`]); a second Ctrl-C ends it at once.
///
/// # Errors
/// When the job cannot be put into words, no worker can be started, it does not speak the protocol,
/// somebody wants its end at once, or `on_event` fails; the worker is ended then.
pub fn run_watched<E: From<Error>>(
    launch: &Launch,
    job: &Job,
    mut on_event: impl FnMut(JobEvent) -> Result<(), E>,
) -> Result<Ended, E> {
    let worker = launch.start("job")?;
    let lost = || Error::new(exit::UNEXPECTED, "a worker started without pipes");
    let mut stdin = worker.child().stdin.take().ok_or_else(lost)?;
    let stdout = worker.child().stdout.take().ok_or_else(lost)?;
    let tail = Tail::of(worker.child().stderr.take().ok_or_else(lost)?);

    // A worker that died at once has closed the pipe; how it ended says more than this error.
    let is_asked = match write_message(&mut stdin, job) {
        Err(error @ ProtocolError::Unsendable(_)) => return Err(Error::from(error).into()),
        written => written.is_ok(),
    };
    let (events, incoming) = mpsc::channel();
    if job.can_stop() {
        let stop_requests = events.clone();
        // The receiver is gone when the job has ended.
        signals::watch(move |request| drop(stop_requests.send(Incoming::StopRequest(request))));
    }
    read_events(stdout, events);
    let mut listener = Listener {
        worker: &worker,
        stdin: Some(stdin).filter(|_| is_asked),
        incoming,
        ended: None,
        requests: 0,
        has_spoken: false,
    };
    while let Some(event) = listener.next()? {
        on_event(event)?;
    }
    let (has_spoken, was_asked_to_stop) = (listener.has_spoken, listener.requests > 0);
    drop(listener);
    let status = worker
        .wait()
        .map_err(|error| Error::new(exit::UNEXPECTED, format!("the worker was lost: {error}")))?;
    let stderr = tail.finish();
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) if has_spoken || (is_asked && code == exit::OK) => Ok(Ended::Code(code)),
        Some(_) => Err(end::never_spoke(status, &stderr).into()),
        None if was_asked_to_stop && end::was_asked(status) => Ok(Ended::Code(exit::INTERRUPTED)),
        None => Ok(Ended::Died(match worker.excess() {
            Some(Excess::Time(time)) => format!("it did not end in {} s", time.as_secs()),
            _ => end::death(status, &stderr),
        })),
    }
}

/// Read events to the end of the stream, on a thread of its own: a read has no time limit.
fn read_events(stdout: ChildStdout, events: Sender<Incoming>) {
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        loop {
            let received = match read_message(&mut stdout) {
                Ok(Some(event)) => Incoming::Event(event),
                Ok(None) | Err(ProtocolError::Io(_)) => Incoming::Closed,
                Err(error) => Incoming::Garbled(error),
            };
            let is_last = !matches!(received, Incoming::Event(_));
            // Nobody listens any more once the job is given up.
            if events.send(received).is_err() || is_last {
                return;
            }
        }
    });
}

struct Listener<'a> {
    worker: &'a Watched,
    /// Closed when it is dropped, which a worker that waits for more takes for the end.
    stdin: Option<ChildStdin>,
    incoming: Receiver<Incoming>,
    /// When the worker was first seen to have ended.
    ended: Option<Instant>,
    /// Requests to stop so far.
    requests: u32,
    has_spoken: bool,
}

impl Listener<'_> {
    /// What happens next; `None` when nothing more will.
    fn next(&mut self) -> Result<Option<JobEvent>, Error> {
        match self.incoming.recv_timeout(TICK) {
            Ok(Incoming::Event(event)) => {
                self.has_spoken = true;
                Ok(Some(JobEvent::Event(event)))
            }
            Ok(Incoming::Closed) | Err(RecvTimeoutError::Disconnected) => Ok(None),
            Ok(Incoming::Garbled(error)) => Err(error.into()),
            Ok(Incoming::StopRequest(request)) => self.stop_requested(request).map(Some),
            Err(RecvTimeoutError::Timeout) => {
                if self.ended.is_none() && !matches!(self.worker.child().try_wait(), Ok(None)) {
                    self.ended = Some(Instant::now());
                }
                let is_over = self.ended.is_some_and(|at| at.elapsed() > LAST_EVENTS);
                Ok((!is_over).then_some(JobEvent::Quiet))
            }
        }
    }

    fn stop_requested(&mut self, request: Request) -> Result<JobEvent, Error> {
        self.requests += 1;
        if self.requests > 1 && request == Request::Interrupt {
            return Err(Error::new(exit::ABORTED, "interrupted twice"));
        }
        if let Some(stdin) = &mut self.stdin {
            // A worker that has ended is not asked any more.
            let _ = writeln!(stdin, "{STOP}").and_then(|()| stdin.flush());
        }
        Ok(JobEvent::Stopping)
    }
}
