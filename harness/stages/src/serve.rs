//! The worker's side of the line protocol.

use std::{
    io::{self, BufRead, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use harness_contract::{
    cell::Cell,
    exit,
    protocol::{
        Counters, Failure, FailureKind, FromWorker, Hello, Init, LogLevel, PROTOCOL_VERSION,
        ProtocolError, Refused, ToWorker, read_message, write_message,
    },
};
use harness_engine::{
    error::{CellError, OpenCell},
    plugin::{Registry, TORCH_VERSION, mark_calls_in},
};
use harness_store::{Access, Lookup, Provenance, Put, Store, StoreError};
use serde_json::Value;

use crate::worker::Worker;

/// Serves cells on standard input and output until it is told to end or its supervisor is gone.
#[must_use]
pub fn serve() -> u8 {
    match Server::new(io::stdin().lock(), io::stdout().lock()).run() {
        Ok(()) => exit::OK,
        // The supervisor is gone: what is finished is in the store, and nobody is there to be told.
        Err(Ended::Pipe) => exit::INTERRUPTED,
        Err(Ended::Fatal(code)) => code,
    }
}

/// Why serving ends early.
enum Ended {
    /// The supervisor is gone.
    Pipe,
    /// The worker cannot go on; the exit code.
    Fatal(u8),
}

impl From<ProtocolError> for Ended {
    fn from(_: ProtocolError) -> Self {
        Ended::Pipe
    }
}

struct Server<I, O> {
    input: I,
    output: O,
}

impl<I: BufRead, O: Write> Server<I, O> {
    fn new(input: I, output: O) -> Self {
        Self { input, output }
    }

    fn run(mut self) -> Result<(), Ended> {
        let (major, minor) = harness_abi::ABI_VERSION;
        self.say(&FromWorker::Hello(Hello {
            protocol: PROTOCOL_VERSION,
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            abi: format!("{major}.{minor}"),
            torch: TORCH_VERSION.to_owned(),
            pid: std::process::id(),
        }))?;
        let init = match read_message(&mut self.input)? {
            Some(ToWorker::Init(init)) => init,
            Some(ToWorker::Shutdown {}) | None => return Ok(()),
            Some(ToWorker::Run { .. }) => {
                return self.fatal(FailureKind::Internal, "a cell came before init".to_owned());
            }
        };
        let store = match Store::open(&init.store, Access::Write) {
            Ok(store) => store,
            Err(error) => return self.fatal(FailureKind::CannotWrite, error.to_string()),
        };
        if let Some(marker) = &init.call_marker
            && let Err(error) = mark_calls_in(marker)
        {
            // Without it the host only knows less of this worker's death.
            let message = format!("{}: no calls are marked: {error}", marker.display());
            let level = LogLevel::Debug;
            self.say(&FromWorker::Log { level, message })?;
        }
        let mut worker = self.worker(init.clone())?;
        let refused = worker
            .registry
            .refused()
            .iter()
            .map(|plugin| Refused {
                path: plugin.path.clone(),
                reason: plugin.reason.clone(),
            })
            .collect();
        self.say(&FromWorker::Ready { refused })?;
        loop {
            match read_message(&mut self.input)? {
                Some(ToWorker::Run { cells }) => self.cells(&mut worker, &store, &init, &cells)?,
                Some(ToWorker::Init(_)) => {
                    return self.fatal(FailureKind::Internal, "a second init".to_owned());
                }
                Some(ToWorker::Shutdown {}) | None => return Ok(()),
            }
        }
    }

    fn worker(&mut self, init: Init) -> Result<Worker, Ended> {
        tch::set_num_threads(i32::try_from(init.threads).unwrap_or(1).max(1));
        let registry = match Registry::open(&init.plugins) {
            Ok(registry) => registry,
            Err(error) => {
                let message = format!("the folders of plugins cannot be searched: {error}");
                return self.fatal(FailureKind::BadInput, message);
            }
        };
        match Worker::new(registry, init) {
            Ok(worker) => Ok(worker),
            Err(error) => {
                let failure = error.failure(None);
                self.fatal(failure.kind, failure.message)
            }
        }
    }

    /// Runs cells of one group and stores what becomes of each.
    fn cells(
        &mut self,
        worker: &mut Worker,
        store: &Store,
        init: &Init,
        cells: &[Cell],
    ) -> Result<(), Ended> {
        let mut runnable = Vec::new();
        // Of each of these, why an input of it is open.
        let mut open_inputs = Vec::new();
        for cell in cells {
            match inputs(store, cell) {
                Ok((inputs, why)) => {
                    runnable.push((cell, inputs));
                    open_inputs.push(why);
                }
                Err(error) => self.failed(store, init, cell, error.failure(Some(&cell.key)))?,
            }
        }
        let Some((first, _)) = runnable.first() else {
            return Ok(());
        };
        let key = first.key.clone();
        let mut broken = false;
        let mut progress = |done: u64, total: u64, unit: &str| {
            let message = FromWorker::Progress {
                key: key.clone(),
                done,
                total,
                unit: unit.to_owned(),
            };
            write_message(&mut self.output, &message).map_err(|_| {
                broken = true;
                CellError::Stopped
            })
        };
        let results = crate::run(worker, &runnable, &mut progress);
        if broken {
            return Err(Ended::Pipe);
        }
        for message in worker.notes.take() {
            let level = LogLevel::Warn;
            self.say(&FromWorker::Log { level, message })?;
        }
        let what = worker.judges.take_learnt();
        if !what.is_empty() {
            self.say(&FromWorker::Learnt { what })?;
        }
        for (((cell, _), result), why) in runnable.iter().zip(results).zip(open_inputs) {
            let result = match (result, why) {
                // What is made of something open is open with it.
                (Ok((output, counters)), Some(why)) => Err(CellError::Open(Box::new(OpenCell {
                    output,
                    counters,
                    why,
                }))),
                (result, _) => result,
            };
            match result {
                Ok((output, counters)) => self.done(store, init, cell, &output, counters)?,
                Err(CellError::Open(open)) => self.open(store, init, cell, *open)?,
                Err(error) => {
                    self.failed(store, init, cell, error.failure(Some(&cell.key)))?;
                }
            }
        }
        Ok(())
    }

    fn done(
        &mut self,
        store: &Store,
        init: &Init,
        cell: &Cell,
        output: &Value,
        counters: Counters,
    ) -> Result<(), Ended> {
        match store.put_done(cell, output, provenance(init, counters)) {
            Ok(Put::Conflict { path }) => {
                let message = format!(
                    "cell {} ({}) has another value than the one in the store; the first stays, this one is in {}",
                    cell.short(),
                    cell.stage(),
                    path.display()
                );
                self.say(&FromWorker::Log {
                    level: LogLevel::Warn,
                    message,
                })?;
            }
            Ok(Put::Stored | Put::Same) => {}
            Err(error) => {
                return self.failed(store, init, cell, cannot_write(cell, &error));
            }
        }
        self.say(&FromWorker::Done {
            key: cell.key.clone(),
            counters,
        })
    }

    fn open(
        &mut self,
        store: &Store,
        init: &Init,
        cell: &Cell,
        open: OpenCell,
    ) -> Result<(), Ended> {
        let OpenCell {
            output,
            counters,
            why,
        } = open;
        let failure = Failure::new(FailureKind::JudgeUnanswered, why).of_cell(&cell.key);
        let provenance = provenance(init, counters);
        if let Err(error) = store.put_open(cell, output, failure.clone(), provenance) {
            return self.say(&FromWorker::Failed(cannot_write(cell, &error)));
        }
        self.say(&FromWorker::Open { failure, counters })
    }

    fn failed(
        &mut self,
        store: &Store,
        init: &Init,
        cell: &Cell,
        failure: Failure,
    ) -> Result<(), Ended> {
        // A store that cannot be written is what the failure itself says.
        if failure.kind != FailureKind::CannotWrite
            && let Err(error) =
                store.put_failed(cell, failure.clone(), provenance(init, Counters::default()))
        {
            return self.say(&FromWorker::Failed(cannot_write(cell, &error)));
        }
        self.say(&FromWorker::Failed(failure))
    }

    fn fatal<T>(&mut self, kind: FailureKind, message: String) -> Result<T, Ended> {
        let failure = Failure::new(kind, message);
        self.say(&FromWorker::Fatal(failure))?;
        Err(Ended::Fatal(kind.exit_code()))
    }

    fn say(&mut self, message: &FromWorker) -> Result<(), Ended> {
        Ok(write_message(&mut self.output, message)?)
    }
}

/// Outputs of a cell's inputs, and why the first of them that is open is so.
fn inputs(store: &Store, cell: &Cell) -> Result<(Vec<Value>, Option<String>), CellError> {
    let (mut outputs, mut why) = (Vec::new(), None);
    for input in &cell.inputs {
        let found = store.lookup(input);
        match found.map_err(|error| CellError::Store(error.to_string()))? {
            Lookup::Done(record) => outputs.push(record.output.unwrap_or(Value::Null)),
            Lookup::Failed(record) if record.output.is_some() => {
                outputs.extend(record.output);
                why = why.or(record.failure.map(|failure| failure.message));
            }
            _ => {
                return Err(CellError::MissingInput {
                    key: cell.key.clone(),
                    input: input.clone(),
                });
            }
        }
    }
    Ok((outputs, why))
}

fn cannot_write(cell: &Cell, error: &StoreError) -> Failure {
    Failure::new(FailureKind::CannotWrite, error.to_string()).of_cell(&cell.key)
}

fn provenance(init: &Init, counters: Counters) -> Provenance {
    Provenance {
        counters,
        device: init.device.clone(),
        threads: init.threads,
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        torch: TORCH_VERSION.to_owned(),
        finished_unix: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs()),
    }
}
