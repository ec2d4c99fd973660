//! Runs the cells that are not done: gives them to workers, keeps count, and stops when asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use harness_plan::{
    cell::Cell,
    exit,
    expand::Plan,
    protocol::{Counters, Failure as CellFailure, FailureKind, Init, LogLevel},
    replies::JudgeMode,
    stages::Stage,
    store::{Provenance, Store},
};

use super::{
    crew::{Crew, News},
    describe, report,
};
use crate::{failure::Failure, output, progress::Progress, signals::Request, worker::Launch};

/// Time a cell in flight gets to finish after a request to stop.
const GRACE: Duration = Duration::from_secs(3);
/// Exit code after a second request to stop: the shell's for SIGINT.
const ABORTED: u8 = 130;

/// What a run needs besides the plan.
pub struct Order {
    pub launch: Launch,
    pub init: Init,
    pub workers: u32,
    pub silence: Duration,
}

/// What became of a run.
#[derive(Default)]
pub struct Outcome {
    /// Keys of all cells that are done now.
    pub done: BTreeSet<String>,
    /// Cells done in this run.
    pub n_done: u64,
    /// Cells that failed in this run.
    pub failed: BTreeMap<String, CellFailure>,
    /// What the cells of this run took together.
    pub counters: Counters,
    /// Version of libtorch.
    pub torch: String,
    /// Why the run ended before its cells.
    pub stop: Option<Failure>,
}

/// Run every cell that is not among `done`.
///
/// # Errors
/// When no worker can be started. Anything later ends up in the outcome.
pub fn run(
    plan: &Plan,
    store: &Store,
    order: Order,
    done: BTreeSet<String>,
) -> Result<Outcome, Failure> {
    let total = plan.cells.len() as u64 - done.len() as u64;
    let workers = order.workers.min(u32::try_from(total).unwrap_or(u32::MAX));
    let provenance = Provenance {
        device: order.init.device.clone(),
        threads: order.init.threads,
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        ..Provenance::default()
    };
    let batched = match order.init.judging.mode {
        JudgeMode::Batch => batched(plan),
        JudgeMode::Live => BTreeMap::new(),
    };
    let crew = Crew::start(order.launch, order.init, workers, order.silence)?;
    let mut run = Run {
        plan,
        store,
        crew,
        batched,
        progress: Progress::start(total, "cells"),
        total,
        provenance,
        asked: None,
        requests: 0,
        told: BTreeSet::new(),
        outcome: Outcome {
            done,
            ..Outcome::default()
        },
    };
    run.progress.describe("starting");
    while run.outcome.stop.is_none() && run.step() {}
    run.progress.finish();
    run.crew.end();
    Ok(run.outcome)
}

/// Groups of the cells that ask a judge, a stage each; their numbers are not those of the plan's groups.
fn batched(plan: &Plan) -> BTreeMap<&str, usize> {
    let stages = Stage::ALL.into_iter().filter(|stage| stage.asks_judge());
    let group_of = |cell: &Cell| {
        let place = stages
            .clone()
            .position(|stage| cell.stage == stage.name())?;
        Some(plan.groups.len() + place)
    };
    (plan.cells.iter())
        .filter_map(|cell| Some((cell.key.as_str(), group_of(cell)?)))
        .collect()
}

struct Run<'a> {
    plan: &'a Plan,
    store: &'a Store,
    crew: Crew,
    /// Groups of the cells that ask a judge in batches, by key: all of a stage ask together.
    batched: BTreeMap<&'a str, usize>,
    progress: Progress,
    total: u64,
    provenance: Provenance,
    /// When the run was first asked to stop.
    asked: Option<Instant>,
    /// Requests to stop so far; the end of a worker by Ctrl-C is none.
    requests: u32,
    /// Warnings of workers so far.
    told: BTreeSet<String>,
    outcome: Outcome,
}

impl<'a> Run<'a> {
    /// Give out cells and take one piece of news; false when nothing is left.
    fn step(&mut self) -> bool {
        let ready = self.ready();
        let nothing_left = ready.is_empty() && self.crew.busy().is_empty();
        if let Some(at) = self.asked {
            if self.crew.busy().is_empty() || at.elapsed() > GRACE {
                self.outcome.stop = Some(self.interrupted());
                return false;
            }
        } else if nothing_left {
            return false;
        } else {
            let plan = self.plan;
            let batched = &self.batched;
            let group_of = |key: &str| plan.group_of(key).or_else(|| batched.get(key).copied());
            match self.crew.assign(ready, group_of) {
                Ok(given) => {
                    if let Some(cell) = given.last() {
                        let what = describe::cell_or_group(plan, cell);
                        self.progress.describe(&what);
                    }
                }
                Err(failure) => {
                    self.outcome.stop = Some(failure);
                    return false;
                }
            }
        }
        match self.crew.listen() {
            News::Hello(hello) => {
                self.provenance.torch.clone_from(&hello.torch);
                self.outcome.torch = hello.torch;
            }
            News::Ready(refused) => {
                for plugin in refused {
                    let reason = output::inert(&plugin.reason);
                    self.warn(&format!("refused {}: {reason}", plugin.path.display()));
                }
            }
            News::Progress { key, text } => {
                if let Some(cell) = self.plan.cell(&key) {
                    let what = describe::cell_or_group(self.plan, cell);
                    self.progress
                        .describe(&format!("{what}: {}", output::inert(&text)));
                }
            }
            News::Done { key, counters } => self.done(key, counters),
            News::Failed { keys, failure } => {
                for key in keys {
                    let failure = CellFailure {
                        key: Some(key.clone()),
                        ..failure.clone()
                    };
                    self.failed(key, failure);
                }
            }
            News::Log(LogLevel::Debug, _) | News::Quiet => {}
            News::Log(LogLevel::Info, message) => self.progress.talk(&output::inert(&message)),
            // Several workers may find the same thing.
            News::Log(LogLevel::Warn, message) => {
                if self.told.insert(message.clone()) {
                    self.warn(&output::inert(&message));
                }
            }
            News::Asked(request) => self.be_asked(request),
            News::Stop(failure) => self.outcome.stop = Some(failure),
        }
        true
    }

    /// Cells that can be run now, in the order of the plan.
    fn ready(&self) -> Vec<&'a Cell> {
        let (plan, done): (&'a Plan, _) = (self.plan, &self.outcome.done);
        let busy: BTreeSet<&str> = self.crew.busy().into_iter().collect();
        let is_open = |key: &str| {
            !done.contains(key) && !self.outcome.failed.contains_key(key) && !busy.contains(key)
        };
        let mut ready: Vec<&'a Cell> = plan
            .cells
            .iter()
            .filter(|cell| is_open(&cell.key) && cell.inputs.iter().all(|key| done.contains(key)))
            .collect();
        // A batch takes up to a day: it is made when nothing is under way or can be done that could add to it.
        let asks = |cell: &&Cell| self.batched.contains_key(cell.key.as_str());
        if !busy.is_empty() || !ready.iter().all(asks) {
            ready.retain(|cell| !asks(cell));
        }
        ready
    }

    fn done(&mut self, key: String, counters: Counters) {
        match self.store.is_done(&key) {
            Ok(true) => {}
            Ok(false) => {
                let message = "the worker reported a result that is not in the store".to_owned();
                return self.failed(key, internal(message));
            }
            Err(error) => {
                self.outcome.stop = Some(Failure::new(error.exit_code(), error.to_string()));
                return;
            }
        }
        self.outcome.counters.add(&counters);
        self.outcome.n_done += 1;
        self.outcome.done.insert(key);
        self.advance();
    }

    fn failed(&mut self, key: String, failure: CellFailure) {
        if failure.kind == FailureKind::Interrupted {
            self.asked.get_or_insert_with(Instant::now);
            return;
        }
        if failure.kind.stops_run() {
            let failure = Failure::from(failure);
            self.outcome.stop =
                Some(failure.hint("finished cells are kept; the same command goes on"));
            return;
        }
        let Some(cell) = self.plan.cell(&key) else {
            return;
        };
        // The same fault often meets every cell of a stage: it is said once now, and counted at the end.
        let message = report::message(&failure);
        let is_new = !self
            .outcome
            .failed
            .values()
            .any(|f| report::message(f) == message);
        if is_new {
            let first_line = message.lines().next().unwrap_or_default();
            self.warn(&format!(
                "{} failed: {first_line}",
                describe::cell(self.plan, cell)
            ));
        }
        if let Err(error) = self
            .store
            .put_failed(cell, failure.clone(), self.provenance.clone())
        {
            self.outcome.stop = Some(Failure::new(error.exit_code(), error.to_string()));
        }
        self.outcome.failed.insert(key, failure);
        self.advance();
    }

    fn advance(&mut self) {
        let failed = &self.outcome.failed;
        let blocked = self.plan.blocked(|key| failed.contains_key(key)).len() as u64;
        let settled = self.outcome.n_done + failed.len() as u64 + blocked;
        self.progress.set(settled.min(self.total), self.total);
    }

    fn be_asked(&mut self, request: Request) {
        self.requests += 1;
        self.asked.get_or_insert_with(Instant::now);
        if self.requests > 1 && request == Request::Interrupt {
            self.outcome.stop = Some(Failure::new(ABORTED, "interrupted twice"));
        } else if request == Request::Interrupt && !self.crew.busy().is_empty() {
            self.progress.talk("stopping; once more ends it at once");
        }
    }

    fn interrupted(&self) -> Failure {
        let message = format!(
            "interrupted: {} of {} cells done in this run, and kept",
            self.outcome.n_done, self.total
        );
        Failure::new(exit::INTERRUPTED, message).hint("the same command goes on from there")
    }

    fn warn(&self, text: &str) {
        self.progress
            .talk(&format!("{} {text}", output::bold("warning:")));
    }
}

fn internal(message: String) -> CellFailure {
    CellFailure {
        key: None,
        plugin: None,
        message,
        kind: FailureKind::Internal,
    }
}
