//! A worker that serves cells: started, greeted, fed, heard, restarted.

use std::{
    io::BufReader,
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdin, ExitStatus},
    sync::mpsc::Sender,
    thread,
};

use harness_plan::{
    cell::Cell,
    exit,
    protocol::{FromWorker, Init, ProtocolError, ToWorker, read_message, write_message},
};

use super::{Launch, Tail, end};
use crate::failure::Failure;

/// What is heard of the worker with a number.
#[expect(
    clippy::large_enum_variant,
    reason = "it travels in the box of whoever is told"
)]
#[derive(Debug)]
pub enum Heard {
    /// It said something.
    Said(FromWorker),
    /// It has closed its standard output: it has ended, or will at once.
    Silent,
    /// It says something that is not of the protocol.
    Garbled(ProtocolError),
}

/// Why a worker was never ready.
pub enum NeverReady {
    /// A signal that nobody here has sent; what is known about it.
    Killed(String),
    /// It was asked to end, or cannot be used.
    Ended(Failure),
}

/// A worker process.
pub struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    tail: Option<Tail>,
}

impl Worker {
    /// Start one and send it what it needs; everything it says goes to `tell`, under `number`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<T: From<(u64, Heard)> + Send + 'static>(
        launch: &Launch,
        init: &Init,
        number: u64,
        tell: Sender<T>,
    ) -> Result<Worker, Failure> {
        let mut child = launch.start("serve")?;
        let lost = || Failure::new(exit::UNEXPECTED, "a worker started without pipes");
        let stdin = child.stdin.take().ok_or_else(lost)?;
        let stdout = child.stdout.take().ok_or_else(lost)?;
        let tail = Tail::of(child.stderr.take().ok_or_else(lost)?);
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            loop {
                let heard = match read_message(&mut stdout) {
                    Ok(Some(message)) => Heard::Said(message),
                    Ok(None) | Err(ProtocolError::Io(_)) => Heard::Silent,
                    Err(error) => Heard::Garbled(error),
                };
                let is_last = !matches!(heard, Heard::Said(_));
                // Nobody listens any more once the run has ended.
                if tell.send(T::from((number, heard))).is_err() || is_last {
                    return;
                }
            }
        });
        let mut worker = Worker {
            child,
            stdin: Some(stdin),
            tail: Some(tail),
        };
        worker.say(&ToWorker::Init(init.clone()));
        Ok(worker)
    }

    /// Send cells that are run together.
    pub fn run(&mut self, cells: &[&Cell]) {
        self.say(&ToWorker::Run {
            cells: cells.iter().map(|cell| (*cell).clone()).collect(),
        });
    }

    /// Send a message. A worker that has died does not get it; that it has is heard from its output.
    fn say(&mut self, message: &ToWorker) {
        if let Some(stdin) = &mut self.stdin {
            let _ = write_message(stdin, message);
        }
    }

    /// End it in its own time: it finishes what it is doing and reads the end of its input.
    pub fn shut_down(mut self) {
        self.say(&ToWorker::Shutdown {});
        self.stdin = None;
        // Nothing is lost when it has ended already.
        let _ = self.child.wait();
    }

    /// End it now.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// How it ended, with its last words.
    pub fn autopsy(&mut self) -> (Option<ExitStatus>, String) {
        self.stdin = None;
        // Its output is closed; should it hang all the same, nothing more will come from it.
        let _ = self.child.kill();
        let status = self.child.wait().ok();
        let words = self.tail.take().map(Tail::finish).unwrap_or_default();
        (status, words)
    }

    /// The message about its death, and whether it was asked to end by a signal.
    pub fn death(&mut self) -> (String, bool) {
        match self.autopsy() {
            (Some(status), words) => (end::death(status, &words), end::was_asked(status)),
            (None, words) => (format!("the worker was lost\n{words}"), false),
        }
    }

    /// How a worker ended that died before it could be used.
    pub fn never_ready(&mut self) -> NeverReady {
        match self.autopsy() {
            (Some(status), _) if end::was_asked(status) => NeverReady::Ended(
                Failure::new(exit::INTERRUPTED, "interrupted while starting")
                    .hint("the same command goes on"),
            ),
            (Some(status), words) if status.signal().is_some() => {
                NeverReady::Killed(end::death(status, &words))
            }
            (Some(status), words) => NeverReady::Ended(end::never_spoke(status, &words)),
            (None, _) => NeverReady::Ended(Failure::new(exit::UNEXPECTED, "the worker was lost")),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
