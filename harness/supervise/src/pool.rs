//! The workers of a run: they are started, given cells, listened to, and replaced when they die.

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};

use harness_contract::{
    Supervision,
    cell::Cell,
    exit,
    protocol::{Counters, Failure, FromWorker, Hello, Init, LogLevel, PROTOCOL_VERSION, Refused},
    signals::{self, Request},
};

use crate::{
    death::Cause,
    error::Error,
    launch::Launch,
    worker::{NeverReady, Worker, WorkerEvent},
};

/// How often time-outs are looked at.
const TICK: Duration = Duration::from_millis(500);
/// Time that a worker has at least to get ready: it loads libraries.
const START: Duration = Duration::from_secs(300);
/// Time between two looks that says that this process did not run.
const AWAY: Duration = Duration::from_secs(10);
/// Workers that may be killed in a run before they are ready.
const FALSE_STARTS: u32 = 8;

/// What reaches the pool, from its workers by their numbers and from signals.
enum Incoming {
    Worker(u64, Box<WorkerEvent>),
    StopRequest(Request),
}

impl From<(u64, WorkerEvent)> for Incoming {
    fn from((number, event): (u64, WorkerEvent)) -> Incoming {
        Incoming::Worker(number, Box::new(event))
    }
}

/// What happens to the workers of a run.
#[derive(Debug)]
pub enum PoolEvent {
    /// A worker has said who it is.
    Hello(Hello),
    /// A worker can take cells; it did not load these plugins.
    Ready(Vec<Refused>),
    /// How far a cell is.
    Progress {
        key: String,
        done: u64,
        total: u64,
        unit: String,
    },
    /// A cell is done.
    Done { key: String, counters: Counters },
    /// A cell has a value in which something is missing.
    Open {
        key: String,
        failure: Failure,
        counters: Counters,
    },
    /// What a judge has learnt of its server.
    Learnt(Vec<String>),
    /// Cells failed, for one reason.
    Failed { keys: Vec<String>, failure: Failure },
    /// The worker of these cells has died, or was ended.
    Died { keys: Vec<String>, failure: Failure },
    /// Something to show.
    Log(LogLevel, String),
    /// Somebody asks the run to stop.
    StopRequest(Request),
    /// No worker can go on.
    NoneCanGoOn(Error),
    /// Nothing, for a while.
    Quiet,
}

/// The workers of a run.
pub struct WorkerPool {
    launch: Launch,
    /// What every worker is told, but for its device.
    init: Init,
    silence: Duration,
    slots: Vec<Slot>,
    next_number: u64,
    false_starts: u32,
    times: Supervision,
    /// When signs of life were last looked for.
    looked: Instant,
    events: Sender<Incoming>,
    incoming: Receiver<Incoming>,
}

struct Slot {
    number: u64,
    worker: Worker,
    /// Where it computes; one that takes its place does so there.
    device: String,
    is_ready: bool,
    /// It has ended; another takes its place when there is work.
    is_dead: bool,
    /// Keys of the cells under way: one, or the open cells of a group.
    busy: Vec<String>,
    /// Whether these ask a judge.
    is_asking: bool,
    /// Checkpoint of the last cell that ran a model: it is loaded.
    checkpoint: Option<String>,
    /// When it last gave a sign of life.
    last_sign: Instant,
    /// Calls of plugins' methods until then.
    calls: u64,
    started: Instant,
    /// When it was ready.
    ready: Option<Instant>,
    /// Since when it has had nothing to do.
    idle: Option<Instant>,
}

impl Slot {
    /// Note since when it has had nothing to do, where no cell is left to it.
    fn note_if_idle(&mut self) {
        if self.busy.is_empty() {
            self.is_asking = false;
            self.idle.get_or_insert_with(Instant::now);
        }
    }

    /// Add the time that it was ready and idle, now that it ends.
    fn add_times_to(&mut self, times: &mut Supervision) {
        let seconds = |since: Option<Instant>| since.map_or(0.0, |at| at.elapsed().as_secs_f64());
        times.ready_seconds += seconds(self.ready.take());
        times.idle_seconds += seconds(self.idle.take());
    }
}

impl WorkerPool {
    /// Start `n` workers on `devices` by turns; cells during which their worker gives no sign of
    /// life for `silence` fail.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn start(
        launch: Launch,
        init: Init,
        n: u32,
        devices: Vec<String>,
        silence: Duration,
    ) -> Result<WorkerPool, Error> {
        let (events, incoming) = mpsc::channel();
        let stop_requests = events.clone();
        // The receiver is gone when the run is over.
        signals::watch(move |request| drop(stop_requests.send(Incoming::StopRequest(request))));
        let mut pool = WorkerPool {
            launch,
            init,
            silence,
            slots: Vec::new(),
            next_number: 0,
            false_starts: 0,
            times: Supervision::default(),
            looked: Instant::now(),
            events,
            incoming,
        };
        for device in devices.iter().cycle().take(n as usize) {
            let slot = pool.new_slot(device)?;
            pool.slots.push(slot);
        }
        Ok(pool)
    }

    fn new_slot(&mut self, device: &str) -> Result<Slot, Error> {
        self.next_number += 1;
        self.times.workers_started += 1;
        let number = self.next_number;
        let init = Init {
            device: device.to_owned(),
            ..self.init.clone()
        };
        Ok(Slot {
            number,
            worker: Worker::start(&self.launch, &init, number, self.events.clone())?,
            device: init.device,
            is_ready: false,
            is_dead: false,
            busy: Vec::new(),
            is_asking: false,
            checkpoint: None,
            last_sign: Instant::now(),
            started: Instant::now(),
            ready: None,
            idle: None,
            calls: 0,
        })
    }

    /// Keys of the cells under way.
    pub fn busy(&self) -> Vec<&str> {
        self.slots
            .iter()
            .flat_map(|slot| slot.busy.iter().map(String::as_str))
            .collect()
    }

    /// Whether a worker is asking a judge.
    pub fn is_asking(&self) -> bool {
        self.slots.iter().any(|slot| slot.is_asking)
    }

    /// Keys of the cells under way that are run together with one, itself included.
    pub fn together(&self, key: &str) -> &[String] {
        let has_it = |slot: &&Slot| slot.busy.iter().any(|busy| busy == key);
        let slot = self.slots.iter().find(has_it);
        slot.map_or(&[], |slot| &slot.busy)
    }

    /// Give every idle worker the cell that suits it best: one of the model it has loaded, else of
    /// a model that no other worker has, and of these the most urgent. A cell that asks a judge
    /// comes before all while none is being asked, so that devices do not wait for a network, and
    /// after all while one is. With a cell of a group go all that can be run of it.
    ///
    /// `ready` are the cells that can be run, in the order of the plan; `group_of` tells the group
    /// of a cell, `urgency` how much must follow it; `claim` returns those of the cells it is given
    /// that no other process computes.
    ///
    /// # Errors
    /// When a worker that has died cannot be replaced, or `claim` fails.
    pub fn assign<'c, E: From<Error>>(
        &mut self,
        mut ready: Vec<&'c Cell>,
        group_of: impl Fn(&str) -> Option<usize>,
        urgency: impl Fn(&Cell) -> f64,
        mut claim: impl FnMut(Vec<&'c Cell>) -> Result<Vec<&'c Cell>, E>,
    ) -> Result<Vec<&'c Cell>, E> {
        let mut given = Vec::new();
        for i in 0..self.slots.len() {
            if self.slots[i].is_dead && !ready.is_empty() {
                let device = self.slots[i].device.clone();
                self.slots[i] = self.new_slot(&device)?;
            }
            if !self.slots[i].is_ready || !self.slots[i].busy.is_empty() || self.slots[i].is_dead {
                continue;
            }
            let elsewhere: Vec<&str> = self
                .slots
                .iter()
                .enumerate()
                .filter(|(j, _)| *j != i)
                .filter_map(|(_, slot)| slot.checkpoint.as_deref())
                .collect();
            let own = self.slots[i].checkpoint.as_deref();
            let rank = |cell: &Cell| match cell.checkpoint() {
                Some(checkpoint) if own == Some(checkpoint) => 0,
                Some(checkpoint) if elsewhere.contains(&checkpoint) => 2,
                _ => 1,
            };
            let is_asking = self.is_asking();
            let turn = |cell: &Cell| match (asks_judge(cell), is_asking) {
                (true, false) => 0,
                (false, _) => 1,
                (true, true) => 2,
            };
            let comes_first = |a: &Cell, b: &Cell| {
                let key = |cell| (turn(cell), rank(cell));
                key(a).cmp(&key(b)).then(urgency(b).total_cmp(&urgency(a)))
            };
            let together = loop {
                // Of equals the first is taken, in the order of the plan.
                let Some(best) = (0..ready.len()).min_by(|&i, &j| comes_first(ready[i], ready[j]))
                else {
                    return Ok(given);
                };
                let cell = ready.remove(best);
                let mut together = vec![cell];
                if let Some(group) = group_of(&cell.key) {
                    let is_of = |other: &&Cell| group_of(&other.key) == Some(group);
                    together.extend(ready.iter().copied().filter(is_of));
                    ready.retain(|other| group_of(&other.key) != Some(group));
                }
                let ours = claim(together)?;
                if !ours.is_empty() {
                    break ours;
                }
            };
            let slot = &mut self.slots[i];
            slot.worker.run(&together)?;
            slot.busy = together.iter().map(|cell| cell.key.clone()).collect();
            if let Some(checkpoint) = together.first().and_then(|cell| cell.checkpoint()) {
                slot.checkpoint = Some(checkpoint.to_owned());
            }
            slot.is_asking = together.iter().any(|cell| asks_judge(cell));
            slot.last_sign = Instant::now();
            if let Some(idle) = slot.idle.take() {
                self.times.idle_seconds += idle.elapsed().as_secs_f64();
            }
            given.extend(together);
        }
        Ok(given)
    }

    /// Wait for what happens next.
    pub fn next_event(&mut self) -> PoolEvent {
        if let Some(event) = self.end_of_silent() {
            return event;
        }
        match self.incoming.recv_timeout(TICK) {
            Ok(Incoming::StopRequest(request)) => PoolEvent::StopRequest(request),
            Ok(Incoming::Worker(number, event)) => {
                match self.slots.iter().position(|slot| slot.number == number) {
                    Some(i) => self.worker_event(i, *event),
                    // The last words of a worker that has been replaced.
                    None => PoolEvent::Quiet,
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => PoolEvent::Quiet,
        }
    }

    fn worker_event(&mut self, i: usize, event: WorkerEvent) -> PoolEvent {
        if self.slots[i].is_dead {
            return PoolEvent::Quiet;
        }
        self.slots[i].last_sign = Instant::now();
        let message = match event {
            WorkerEvent::Message(message) => message,
            WorkerEvent::Closed => return self.died(i, Cause::Ended),
            WorkerEvent::Garbled(error) => return self.died(i, Cause::Garbled(error.to_string())),
        };
        match message {
            FromWorker::Hello(hello) if hello.protocol != PROTOCOL_VERSION => {
                let message = format!(
                    "harness speaks protocol {PROTOCOL_VERSION}, harness-worker {}",
                    hello.protocol
                );
                PoolEvent::NoneCanGoOn(
                    Error::new(exit::UNEXPECTED, message)
                        .hint("build both together: `cargo xtask build`"),
                )
            }
            FromWorker::Hello(hello) => PoolEvent::Hello(hello),
            FromWorker::Ready { refused } => {
                let slot = &mut self.slots[i];
                self.times.start_seconds += slot.started.elapsed().as_secs_f64();
                slot.is_ready = true;
                slot.ready = Some(Instant::now());
                slot.idle = slot.ready;
                PoolEvent::Ready(refused)
            }
            FromWorker::Progress {
                key,
                done,
                total,
                unit,
            } => PoolEvent::Progress {
                key,
                done,
                total,
                unit,
            },
            FromWorker::Done { key, counters } => {
                let slot = &mut self.slots[i];
                slot.busy.retain(|busy| *busy != key);
                slot.note_if_idle();
                PoolEvent::Done { key, counters }
            }
            FromWorker::Open { failure, counters } => {
                let Some(key) = failure.key.clone() else {
                    return self.failed(i, failure);
                };
                self.slots[i].busy.retain(|busy| *busy != key);
                self.slots[i].note_if_idle();
                PoolEvent::Open {
                    key,
                    failure,
                    counters,
                }
            }
            FromWorker::Learnt { what } => PoolEvent::Learnt(what),
            FromWorker::Failed(failure) => self.failed(i, failure),
            FromWorker::Fatal(failure) => PoolEvent::NoneCanGoOn(failure.into()),
            FromWorker::Log { level, message } => PoolEvent::Log(level, message),
        }
    }

    /// A cell of a worker failed, or all it has, when the failure names none of them.
    fn failed(&mut self, i: usize, failure: Failure) -> PoolEvent {
        let busy = &mut self.slots[i].busy;
        let named = failure
            .key
            .as_ref()
            .and_then(|key| busy.iter().position(|b| b == key));
        let keys = match named {
            Some(at) => vec![busy.remove(at)],
            None => std::mem::take(busy),
        };
        self.slots[i].note_if_idle();
        match keys.is_empty() {
            true => PoolEvent::NoneCanGoOn(failure.into()),
            false => PoolEvent::Failed { keys, failure },
        }
    }

    /// A worker is dead, or as good as dead. One that was asked to end was interrupted: a
    /// terminal's Ctrl-C reaches the workers too.
    fn died(&mut self, i: usize, cause: Cause) -> PoolEvent {
        let slot = &mut self.slots[i];
        if !slot.is_ready {
            return match slot.worker.never_ready(cause) {
                // Something outside has ended it, and may not do so again.
                NeverReady::Killed(message) if self.false_starts < FALSE_STARTS => {
                    self.false_starts += 1;
                    slot.is_dead = true;
                    PoolEvent::Log(LogLevel::Warn, format!("{message}; another is started"))
                }
                NeverReady::Killed(message) => PoolEvent::NoneCanGoOn(
                    Error::new(exit::UNEXPECTED, message)
                        .hint("no worker gets ready; is there memory enough?"),
                ),
                NeverReady::Ended(failure) => PoolEvent::NoneCanGoOn(failure),
            };
        }
        let failure = slot.worker.death(cause).failure();
        slot.is_dead = true;
        slot.is_asking = false;
        slot.add_times_to(&mut self.times);
        let keys = std::mem::take(&mut slot.busy);
        if keys.is_empty() {
            // It had nothing to do, so nothing is lost.
            return PoolEvent::Log(LogLevel::Debug, failure.told());
        }
        PoolEvent::Died { keys, failure }
    }

    /// The end of a worker that has given no sign of life for too long, neither a message nor a
    /// call of a plugin's method.
    fn end_of_silent(&mut self) -> Option<PoolEvent> {
        // Nothing was heard while this process did not run either: it was stopped and let go on,
        // with its workers.
        let was_away = self.looked.elapsed() > AWAY;
        self.looked = Instant::now();
        for slot in &mut self.slots {
            let calls = slot.worker.calls();
            if calls != slot.calls || was_away {
                slot.calls = calls;
                slot.last_sign = Instant::now();
            }
        }
        let silence = self.silence;
        let may_be_silent = |slot: &Slot| match (slot.is_ready, slot.busy.is_empty()) {
            (false, _) => silence.max(START),
            (true, false) => silence,
            (true, true) => Duration::MAX,
        };
        let i = (self.slots.iter())
            .position(|slot| !slot.is_dead && slot.last_sign.elapsed() > may_be_silent(slot))?;
        let silence = may_be_silent(&self.slots[i]);
        Some(self.died(i, Cause::Silent(silence)))
    }

    /// End all workers: idle ones in their own time, busy ones at once. Returns what supervising
    /// them took.
    pub fn end(mut self) -> Supervision {
        for mut slot in self.slots {
            slot.add_times_to(&mut self.times);
            if !slot.busy.is_empty() || !slot.is_ready || slot.is_dead {
                slot.worker.kill();
            } else {
                slot.worker.shut_down();
            }
        }
        self.times
    }
}

/// Whether a cell asks a judge: a network may be all it needs.
pub fn asks_judge(cell: &Cell) -> bool {
    cell.stage().asks_judge()
}
