//! Runs the cells that are not done: gives them to workers, keeps count, and stops when asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, Instant},
};

use harness_contract::{
    Supervision,
    cell::Cell,
    exit,
    judging::JudgeMode,
    protocol::{Counters, Failure as CellFailure, FailureKind, Init, LogLevel},
    signals::Request,
    stages::Stage,
};
use harness_plan::expand::Plan;
use harness_store::{
    Provenance, StageSummary, Store,
    claims::{Claims, Pace},
};
use harness_supervise::{Bisection, Launch, PoolEvent, WorkerPool};

use super::{describe, schedule::Schedule, sharing::Sharing};
use crate::{failure::Failure, output, progress::Progress};

/// Time a cell in flight gets to finish after a request to stop.
const GRACE: Duration = Duration::from_secs(3);
/// Time that workers which are asking a judge get to finish after an error has ended the run: the
/// answers under way are paid for, and a worker keeps each one when it arrives.
const ANSWERS: Duration = Duration::from_secs(10);

/// What a run needs besides the plan.
pub struct Order {
    pub launch: Launch,
    pub init: Init,
    pub workers: u32,
    /// Where workers compute: the first on the first, and so on around.
    pub devices: Vec<String>,
    /// Plugins of which it is told already that they are refused.
    pub refused: BTreeSet<PathBuf>,
    pub silence: Duration,
    /// How claims on cells are kept alive and given up.
    pub pace: Pace,
}

/// What became of a run.
#[derive(Default)]
pub struct Outcome {
    /// Keys of all cells that are done now.
    pub done: BTreeSet<String>,
    /// Cells done in this run.
    pub n_done: u64,
    /// Cells that other processes did meanwhile.
    pub n_elsewhere: u64,
    /// Cells that failed in this run.
    pub failed: BTreeMap<String, CellFailure>,
    /// Cells of this run that have questions to a judge open.
    pub open: BTreeMap<String, CellFailure>,
    /// What judges have learnt of their servers.
    pub learnt: BTreeSet<String>,
    /// What the cells of this run took together.
    pub counters: Counters,
    /// The same by stage.
    pub stages: BTreeMap<String, StageSummary>,
    /// What supervising workers took.
    pub supervision: Supervision,
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
        device: order.devices.join(","),
        threads: order.init.threads,
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        ..Provenance::default()
    };
    let batched = match order.init.judging.mode {
        JudgeMode::Batch => batched(plan),
        JudgeMode::Live => BTreeMap::new(),
    };
    let sharing = Sharing::new(Claims::begin(store, order.pace)?);
    let pool = WorkerPool::start(
        order.launch,
        order.init,
        workers,
        order.devices,
        order.silence,
    )?;
    let mut run = Run {
        plan,
        refused: order.refused,
        store,
        pool,
        sharing,
        batched,
        schedule: Schedule::new(plan, &done),
        under_way: BTreeMap::new(),
        bisection: Bisection::default(),
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
    run.wait_for_answers();
    run.progress.finish();
    run.outcome.supervision = run.pool.end();
    Ok(run.outcome)
}

/// Groups of the cells that ask a judge, a stage each; their numbers are not those of the plan's
/// groups.
fn batched(plan: &Plan) -> BTreeMap<&str, usize> {
    let stages = Stage::ALL.into_iter().filter(|stage| stage.asks_judge());
    let group_of = |cell: &Cell| {
        let place = stages.clone().position(|stage| cell.stage() == stage)?;
        Some(plan.groups.len() + place)
    };
    (plan.cells.iter())
        .filter_map(|cell| Some((cell.key.as_str(), group_of(cell)?)))
        .collect()
}

struct Run<'a> {
    plan: &'a Plan,
    store: &'a Store,
    pool: WorkerPool,
    /// Which cells other processes on the same store have.
    sharing: Sharing,
    /// Plugins of which it is told that they are refused.
    refused: BTreeSet<PathBuf>,
    /// Groups of the cells that ask a judge in batches, by key: all of a stage ask together.
    batched: BTreeMap<&'a str, usize>,
    schedule: Schedule,
    /// Cells under way that have said how far they are, with that share.
    under_way: BTreeMap<String, f64>,
    /// Cells that are not run with all of their group any more.
    bisection: Bisection,
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
    /// Give out cells and act on one event; false when nothing is left.
    fn step(&mut self) -> bool {
        match self.give_out() {
            Ok(true) => {}
            Ok(false) => return false,
            Err(failure) => {
                self.stop(failure);
                return false;
            }
        }
        self.listen();
        true
    }

    /// After an error has ended the run: let the other workers that are asking a judge finish, for
    /// a while, unless somebody asked the run to stop.
    fn wait_for_answers(&mut self) {
        let began = Instant::now();
        while self.pool.is_asking() && self.asked.is_none() && began.elapsed() < ANSWERS {
            self.listen();
        }
    }

    /// End the run; the first reason is the one that is told.
    fn stop(&mut self, failure: Failure) {
        self.outcome.stop.get_or_insert(failure);
    }

    /// Wait for what happens next, and act on it.
    fn listen(&mut self) {
        match self.pool.next_event() {
            PoolEvent::Hello(hello) => {
                self.provenance.torch.clone_from(&hello.torch);
                self.outcome.torch = hello.torch;
            }
            PoolEvent::Ready(refused) => {
                for plugin in refused {
                    let reason = output::sanitize(&plugin.reason);
                    let path = plugin.path.display().to_string();
                    // Every worker says it, and the command has said what it knew before.
                    if self.refused.insert(plugin.path) {
                        self.warn(&format!("refused {path}: {reason}"));
                    }
                }
            }
            PoolEvent::Progress {
                key,
                done,
                total,
                unit,
            } => {
                self.partly(&key, done as f64 / total.max(1) as f64);
                if let Some(cell) = self.plan.cell(&key) {
                    let what = describe::cell_or_group(self.plan, cell);
                    let unit = output::sanitize(&unit);
                    self.progress
                        .describe(&format!("{what}: {done}/{total} {unit}"));
                }
            }
            PoolEvent::Done { key, counters } => self.done(key, counters),
            PoolEvent::Open {
                key,
                failure,
                counters,
            } => self.open(key, failure, &counters),
            PoolEvent::Learnt(lines) => {
                for line in lines {
                    if self.outcome.learnt.insert(line.clone()) {
                        self.progress
                            .talk(&format!("judge {}", output::sanitize(&line)));
                    }
                }
            }
            PoolEvent::Failed { keys, failure } => self.all_failed(keys, &failure),
            PoolEvent::Died { keys, failure } => self.died(keys, &failure),
            PoolEvent::Log(LogLevel::Debug, _) | PoolEvent::Quiet => {}
            PoolEvent::Log(LogLevel::Info, message) => {
                self.progress.talk(&output::sanitize(&message))
            }
            // Several workers may find the same thing.
            PoolEvent::Log(LogLevel::Warn, message) => {
                if self.told.insert(message.clone()) {
                    self.warn(&output::sanitize(&message));
                }
            }
            PoolEvent::StopRequest(request) => self.stop_requested(request),
            PoolEvent::Fatal(error) => self.stop(error.into()),
        }
    }

    /// Give out what can be run; false when nothing is left, or time is up.
    fn give_out(&mut self) -> Result<bool, Failure> {
        if let Some(at) = self.asked {
            if self.pool.busy().is_empty() || at.elapsed() > GRACE {
                return Err(self.interrupted());
            }
            return Ok(true);
        }
        for key in self.sharing.arrived(self.store)? {
            self.outcome.n_elsewhere += 1;
            self.settle(&key);
            self.outcome.done.insert(key);
            self.advance();
        }
        let ready = self.ready();
        if ready.is_empty() && self.pool.busy().is_empty() && self.sharing.is_alone() {
            return Ok(false);
        }
        let (plan, store) = (self.plan, self.store);
        let (batched, bisection) = (&self.batched, &self.bisection);
        let group_of = |key: &str| {
            let whole = || plan.group_of(key).or_else(|| batched.get(key).copied());
            bisection.group_of(key).or_else(whole)
        };
        let (schedule, sharing) = (&self.schedule, &mut self.sharing);
        let given = self.pool.assign(
            ready,
            group_of,
            |cell| schedule.urgency(cell),
            |cells| sharing.claim(store, cells),
        )?;
        if let Some(cell) = given.last() {
            let what = describe::cell_or_group(plan, cell);
            self.progress.describe(&what);
        } else if self.pool.busy().is_empty()
            && let Some(what) = self.sharing.waits_for()
        {
            self.progress.describe(&what);
        }
        Ok(true)
    }

    /// Cells that can be run now and that no other process has, in the order of the plan.
    fn ready(&self) -> Vec<&'a Cell> {
        let (plan, done): (&'a Plan, _) = (self.plan, &self.outcome.done);
        let busy: BTreeSet<&str> = self.pool.busy().into_iter().collect();
        let is_open = |key: &str| {
            !done.contains(key)
                && !self.outcome.failed.contains_key(key)
                && !self.outcome.open.contains_key(key)
                && !busy.contains(key)
                && !self.sharing.is_elsewhere(key)
        };
        // What there is of an open cell is worth a table.
        let is_there = |key: &String| done.contains(key) || self.outcome.open.contains_key(key);
        let mut ready: Vec<&'a Cell> = plan
            .cells
            .iter()
            .filter(|cell| is_open(&cell.key) && cell.inputs.iter().all(&is_there))
            .collect();
        // A batch takes up to a day: it is made when nothing is under way or can be done that could
        // add to it.
        let asks = |cell: &&Cell| self.batched.contains_key(cell.key.as_str());
        if !busy.is_empty() || !ready.iter().all(asks) {
            ready.retain(|cell| !asks(cell));
        }
        ready
    }

    fn done(&mut self, key: String, counters: Counters) {
        self.sharing.release(&key);
        match self.store.is_done(&key) {
            Ok(true) => {}
            Ok(false) => {
                let message = "the worker reported a result that is not in the store".to_owned();
                return self.failed(key, internal(message));
            }
            Err(error) => {
                self.stop(Failure::new(error.exit_code(), error.to_string()));
                return;
            }
        }
        self.outcome.counters.add(&counters);
        if let Some(cell) = self.plan.cell(&key) {
            let stage = cell.stage().name().to_owned();
            let summary = self.outcome.stages.entry(stage).or_default();
            summary.add(&counters);
        }
        self.outcome.n_done += 1;
        self.settle(&key);
        self.outcome.done.insert(key);
        self.advance();
    }

    /// A cell has a value in which answers of a judge are missing: it is run again next time, with
    /// all that is made of it.
    fn open(&mut self, key: String, failure: CellFailure, counters: &Counters) {
        self.sharing.release(&key);
        self.outcome.counters.add(counters);
        self.settle(&key);
        self.outcome.open.insert(key, failure);
        self.advance();
    }

    fn failed(&mut self, key: String, failure: CellFailure) {
        self.sharing.release(&key);
        if failure.kind == FailureKind::Interrupted {
            self.asked.get_or_insert_with(Instant::now);
            return;
        }
        if failure.kind.stops_run() {
            let failure = Failure::from(failure);
            self.stop(failure.hint("finished cells are kept; the same command goes on"));
            return;
        }
        let Some(cell) = self.plan.cell(&key) else {
            return;
        };
        // The same fault often meets every cell of a stage: it is said once now, and counted at the
        // end.
        let message = describe::failure(&failure);
        let is_new = !self
            .outcome
            .failed
            .values()
            .any(|f| describe::failure(f) == message);
        if is_new {
            let headline = output::sanitize(&failure.headline());
            let first_line = headline.lines().next().unwrap_or_default();
            self.warn(&format!(
                "{} failed: {first_line}",
                describe::cell(self.plan, cell)
            ));
        }
        if let Err(error) = self
            .store
            .put_failed(cell, failure.clone(), self.provenance.clone())
        {
            self.stop(Failure::new(error.exit_code(), error.to_string()));
        }
        self.settle(&key);
        self.outcome.failed.insert(key, failure);
        for cell in self
            .plan
            .blocked(|key| self.outcome.failed.contains_key(key))
        {
            self.schedule.settle(&cell.key);
        }
        self.advance();
    }

    /// A cell needs no more time.
    fn settle(&mut self, key: &str) {
        self.schedule.settle(key);
        self.under_way.remove(key);
    }

    /// A cell, with those that are run together with it, is done to this share.
    fn partly(&mut self, key: &str, share: f64) {
        let together = self.pool.together(key).iter().cloned();
        self.under_way.extend(together.map(|key| (key, share)));
        self.progress.weigh(self.schedule.share(&self.under_way));
    }

    fn all_failed(&mut self, keys: Vec<String>, failure: &CellFailure) {
        for key in keys {
            let failure = failure.clone().of_cell(&key);
            self.failed(key, failure);
        }
    }

    /// The worker of these cells is dead: one cell fails, several are tried again in smaller parts.
    fn died(&mut self, keys: Vec<String>, failure: &CellFailure) {
        if failure.kind == FailureKind::Interrupted || !self.bisection.cut(&keys) {
            return self.all_failed(keys, failure);
        }
        // Other processes may take them until they are given out anew.
        for key in &keys {
            self.sharing.release(key);
        }
        let headline = output::sanitize(&failure.headline());
        let message = headline.lines().next().unwrap_or_default();
        self.warn(&format!(
            "{message}; its {} cells are tried again in smaller parts",
            keys.len()
        ));
    }

    fn advance(&mut self) {
        let failed = &self.outcome.failed;
        let blocked = self.plan.blocked(|key| failed.contains_key(key)).len() as u64;
        let unfinished = failed.len() as u64 + self.outcome.open.len() as u64 + blocked;
        let settled = self.outcome.n_done + self.outcome.n_elsewhere + unfinished;
        self.progress.set(settled.min(self.total), self.total);
        self.progress.weigh(self.schedule.share(&self.under_way));
    }

    fn stop_requested(&mut self, request: Request) {
        self.requests += 1;
        self.asked.get_or_insert_with(Instant::now);
        if self.requests > 1 && request == Request::Interrupt {
            self.stop(Failure::new(exit::ABORTED, "interrupted twice"));
        } else if request == Request::Interrupt && !self.pool.busy().is_empty() {
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
    CellFailure::new(FailureKind::Internal, message)
}
