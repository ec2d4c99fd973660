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

use super::{Excess, Launch, Tail, Watched, end};
use crate::failure::Failure;

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

/// What is heard of a job.
#[derive(Debug)]
pub enum News {
    Event(Event),
    /// It was asked to stop, and will when it has kept what it has done.
    Stopping,
    /// Nothing has happened for a moment.
    Quiet,
}

/// Anything that happens to a job.
enum Happened {
    Heard(Event),
    /// Its output has ended, or broken.
    Silent,
    Garbled(ProtocolError),
    Asked(Request),
}

/// Run a job, handing each event to `on_event` as it comes.
///
/// # Errors
/// As [`run_watched`].
pub fn run_job(
    launch: &Launch,
    job: &Job,
    mut on_event: impl FnMut(Event) -> Result<(), Failure>,
) -> Result<Ended, Failure> {
    run_watched(launch, job, |news| match news {
        News::Event(event) => on_event(event),
        News::Stopping | News::Quiet => Ok(()),
    })
}

/// Run a job, handing on all that is heard of it. One that can stop is asked to by signals (see
/// [`signals`]); a second Ctrl-C ends it at once.
///
/// # Errors
/// When the job cannot be put into words, no worker can be started, it does not speak the protocol,
/// somebody wants its end at once, or `on_news` fails; the worker is ended then.
pub fn run_watched(
    launch: &Launch,
    job: &Job,
    mut on_news: impl FnMut(News) -> Result<(), Failure>,
) -> Result<Ended, Failure> {
    let worker = launch.start("job")?;
    let lost = || Failure::new(exit::UNEXPECTED, "a worker started without pipes");
    let mut stdin = worker.child().stdin.take().ok_or_else(lost)?;
    let stdout = worker.child().stdout.take().ok_or_else(lost)?;
    let tail = Tail::of(worker.child().stderr.take().ok_or_else(lost)?);

    // A worker that died at once has closed the pipe; how it ended says more than this error.
    let is_asked = match write_message(&mut stdin, job) {
        Err(error @ ProtocolError::Unsendable(_)) => return Err(error.into()),
        written => written.is_ok(),
    };
    let (tell, happened) = mpsc::channel();
    if job.can_stop() {
        let tell = tell.clone();
        // The receiver is gone when the job has ended.
        signals::watch(move |request| drop(tell.send(Happened::Asked(request))));
    }
    read_events(stdout, tell);
    let mut listener = Listener {
        worker: &worker,
        stdin: Some(stdin).filter(|_| is_asked),
        happened,
        ended: None,
        requests: 0,
        has_spoken: false,
    };
    while let Some(news) = listener.next()? {
        on_news(news)?;
    }
    let (has_spoken, was_asked_to_stop) = (listener.has_spoken, listener.requests > 0);
    drop(listener);
    let status = worker
        .wait()
        .map_err(|error| Failure::new(exit::UNEXPECTED, format!("the worker was lost: {error}")))?;
    let stderr = tail.finish();
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) if has_spoken || (is_asked && code == exit::OK) => Ok(Ended::Code(code)),
        Some(_) => Err(end::never_spoke(status, &stderr)),
        None if was_asked_to_stop && end::was_asked(status) => Ok(Ended::Code(exit::INTERRUPTED)),
        None => Ok(Ended::Died(match worker.excess() {
            Some(Excess::Time(time)) => format!("it did not end in {} s", time.as_secs()),
            _ => end::death(status, &stderr),
        })),
    }
}

/// Read events to the end of the stream, on a thread of its own: a read has no time limit.
fn read_events(stdout: ChildStdout, tell: Sender<Happened>) {
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        loop {
            let happened = match read_message(&mut stdout) {
                Ok(Some(event)) => Happened::Heard(event),
                Ok(None) | Err(ProtocolError::Io(_)) => Happened::Silent,
                Err(error) => Happened::Garbled(error),
            };
            let is_last = !matches!(happened, Happened::Heard(_));
            // Nobody listens any more once the job is given up.
            if tell.send(happened).is_err() || is_last {
                return;
            }
        }
    });
}

struct Listener<'a> {
    worker: &'a Watched,
    /// Closed when it is dropped, which a worker that waits for more takes for the end.
    stdin: Option<ChildStdin>,
    happened: Receiver<Happened>,
    /// When the worker was first seen to have ended.
    ended: Option<Instant>,
    /// Requests to stop so far.
    requests: u32,
    has_spoken: bool,
}

impl Listener<'_> {
    /// What happens next; `None` when nothing more will.
    fn next(&mut self) -> Result<Option<News>, Failure> {
        match self.happened.recv_timeout(TICK) {
            Ok(Happened::Heard(event)) => {
                self.has_spoken = true;
                Ok(Some(News::Event(event)))
            }
            Ok(Happened::Silent) | Err(RecvTimeoutError::Disconnected) => Ok(None),
            Ok(Happened::Garbled(error)) => Err(error.into()),
            Ok(Happened::Asked(request)) => self.be_asked(request).map(Some),
            Err(RecvTimeoutError::Timeout) => {
                if self.ended.is_none() && !matches!(self.worker.child().try_wait(), Ok(None)) {
                    self.ended = Some(Instant::now());
                }
                let is_over = self.ended.is_some_and(|at| at.elapsed() > LAST_EVENTS);
                Ok((!is_over).then_some(News::Quiet))
            }
        }
    }

    fn be_asked(&mut self, request: Request) -> Result<News, Failure> {
        self.requests += 1;
        if self.requests > 1 && request == Request::Interrupt {
            return Err(Failure::new(exit::ABORTED, "interrupted twice"));
        }
        if let Some(stdin) = &mut self.stdin {
            // A worker that has ended is not asked any more.
            let _ = writeln!(stdin, "{STOP}").and_then(|()| stdin.flush());
        }
        Ok(News::Stopping)
    }
}
