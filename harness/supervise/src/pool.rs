//! The worker processes of a run: starts them, gives them cells, turns what they say into events,
//! and replaces those that die.
//!
//! The caller gives work with [`WorkerPool::assign`] and takes events from
//! [`WorkerPool::next_event`] by turns, and at last calls [`WorkerPool::end`]. A worker is
//! starting, idle, busy or dead; a dead one is replaced on its device when there is work for it.

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

/// The longest wait for an event before time-outs are looked at again.
const TICK: Duration = Duration::from_millis(500);
/// How long a worker may be silent before it is ready, unless busy ones may be so for longer: it
/// loads libraries.
const START: Duration = Duration::from_secs(300);
/// After a longer gap between two looks at time-outs every worker's silence is counted anew: this
/// process was suspended, probably with its workers, or whoever calls it was slow.
const AWAY: Duration = Duration::from_secs(10);
/// How many workers something outside, such as the kernel for want of memory, may kill in a run
/// before they are ready. One more ends the run.
const FALSE_STARTS: u32 = 8;

/// What reaches the pool: an event of the worker with a number, or a signal.
enum Incoming {
    Worker(u64, Box<WorkerEvent>),
    StopRequest(Request),
}

impl From<(u64, WorkerEvent)> for Incoming {
    fn from((number, event): (u64, WorkerEvent)) -> Incoming {
        Incoming::Worker(number, Box::new(event))
    }
}

/// What has happened to the workers of a run.
#[derive(Debug)]
pub enum PoolEvent {
    /// A worker has said who it is.
    Hello(Hello),
    /// A worker can take cells. It has refused these plugins.
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
    /// A cell has a value in which something is missing that may come later, such as the answer of
    /// a judge.
    Open {
        key: String,
        failure: Failure,
        counters: Counters,
    },
    /// What a judge has learnt of its server, such as a model that it did not have; it is kept with
    /// the run.
    Learnt(Vec<String>),
    /// Cells failed, for one reason. Their worker goes on.
    Failed { keys: Vec<String>, failure: Failure },
    /// The worker that had these unfinished cells is gone: it has ended, sent what cannot be read,
    /// or was silent for too long and was ended. It may not have begun all of them.
    Died { keys: Vec<String>, failure: Failure },
    /// Something to show.
    Log(LogLevel, String),
    /// Somebody asks the run to stop.
    StopRequest(Request),
    /// The run cannot go on, with whatever worker: the caller ends the pool.
    Fatal(Error),
    /// Nothing to act on: no event for a while, or the last words of a worker that is dead already.
    Quiet,
}

/// The workers of a run.
pub struct WorkerPool {
    launch: Launch,
    /// What every worker is told; `device` is each worker's own.
    init: Init,
    /// How long a busy worker may be silent.
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
    /// Where it computes; the worker that replaces it computes there too.
    device: String,
    state: State,
    /// Checkpoint of the last cells given that run a model: presumably it is still loaded.
    checkpoint: Option<String>,
    /// When it last gave a sign of life: a message, or a call of a plugin's method.
    last_sign: Instant,
    /// Calls of plugins' methods when that was last looked at.
    calls: u64,
    started: Instant,
    /// When it became ready.
    ready: Option<Instant>,
}

enum State {
    /// It loads libraries.
    Starting,
    /// It has had nothing to do since then.
    Idle(Instant),
    /// It computes cells.
    Busy {
        /// Keys of the cells that it was given together and has not finished.
        keys: Vec<String>,
        /// Whether one of the cells it was given asks a judge.
        asks_judge: bool,
    },
    /// It has ended.
    Dead,
}

impl Slot {
    /// Keys of the cells that it computes.
    fn keys(&self) -> &[String] {
        match &self.state {
            State::Busy { keys, .. } => keys,
            _ => &[],
        }
    }

    fn is_asking(&self) -> bool {
        matches!(
            self.state,
            State::Busy {
                asks_judge: true,
                ..
            }
        )
    }

    /// Take out the cell of a key; it is idle after its last one. Whether it had that cell.
    fn finish(&mut self, key: &str) -> bool {
        let State::Busy { keys, .. } = &mut self.state else {
            return false;
        };
        let before = keys.len();
        keys.retain(|own| own != key);
        let had = keys.len() < before;
        if keys.is_empty() {
            self.state = State::Idle(Instant::now());
        }
        had
    }

    /// Take out all its cells.
    fn finish_all(&mut self) -> Vec<String> {
        match &mut self.state {
            State::Busy { keys, .. } => {
                let keys = std::mem::take(keys);
                self.state = State::Idle(Instant::now());
                keys
            }
            _ => Vec::new(),
        }
    }

    /// Note that it has ended; the time that it was ready, and idle at the end, goes to `times`.
    fn end(&mut self, times: &mut Supervision) {
        let seconds = |since: Instant| since.elapsed().as_secs_f64();
        times.ready_seconds += self.ready.take().map_or(0.0, seconds);
        if let State::Idle(since) = self.state {
            times.idle_seconds += seconds(since);
        }
        self.state = State::Dead;
        self.checkpoint = None;
    }
}

impl WorkerPool {
    /// Start `n` workers on `devices` by turns. A busy worker that gives no sign of life for
    /// `silence` is ended, as [`PoolEvent::Died`] says.
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
        // Sending fails only after the run, when nobody waits for it any more.
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
            state: State::Starting,
            checkpoint: None,
            last_sign: Instant::now(),
            calls: 0,
            started: Instant::now(),
            ready: None,
        })
    }

    /// Keys of the cells that workers compute.
    pub fn busy(&self) -> Vec<&str> {
        self.slots
            .iter()
            .flat_map(|slot| slot.keys().iter().map(String::as_str))
            .collect()
    }

    /// Whether a worker has cells that ask a judge.
    pub fn is_asking(&self) -> bool {
        self.slots.iter().any(Slot::is_asking)
    }

    /// Keys of the unfinished cells that a worker was given together with one, itself included.
    pub fn together(&self, key: &str) -> &[String] {
        let has_it = |slot: &&Slot| slot.keys().iter().any(|own| own == key);
        self.slots.iter().find(has_it).map_or(&[], Slot::keys)
    }

    /// Give every idle worker the cell that comes first for it; with a cell of a group go all
    /// runnable cells of that group. A dead worker is replaced while cells are left, by one that
    /// takes cells once it is ready. Returns the cells that were given. What comes first:
    ///
    /// 1. A cell that asks a judge, while no worker asks one: the network's time then passes beside
    ///    the device's. While one does, such cells come last.
    /// 2. A cell of the checkpoint that the worker has loaded, then one of no model or of a model
    ///    that no worker has loaded, then one that another worker has loaded.
    /// 3. The more urgent cell.
    /// 4. The order of the plan.
    ///
    /// `runnable` are the cells that can be run, in the order of the plan; `group_of` tells the
    /// group of a cell, `urgency` how much work waits for it. `claim` claims cells for this process
    /// among all that share the store, and returns those that it got; the others are left out of
    /// this call.
    ///
    /// # Errors
    /// When a dead worker cannot be replaced, `claim` fails, or a cell cannot be put into a
    /// message.
    pub fn assign<'c, E: From<Error>>(
        &mut self,
        mut runnable: Vec<&'c Cell>,
        group_of: impl Fn(&str) -> Option<usize>,
        urgency: impl Fn(&Cell) -> f64,
        mut claim: impl FnMut(Vec<&'c Cell>) -> Result<Vec<&'c Cell>, E>,
    ) -> Result<Vec<&'c Cell>, E> {
        let mut given = Vec::new();
        for i in 0..self.slots.len() {
            if matches!(self.slots[i].state, State::Dead) && !runnable.is_empty() {
                let device = self.slots[i].device.clone();
                self.slots[i] = self.new_slot(&device)?;
            }
            let State::Idle(idle_since) = self.slots[i].state else {
                continue;
            };
            let together = loop {
                // Of equals the first is taken, in the order of the plan.
                let best = (0..runnable.len()).min_by(|&a, &b| {
                    let (a, b) = (runnable[a], runnable[b]);
                    let by_urgency = || urgency(b).total_cmp(&urgency(a));
                    self.rank(i, a).cmp(&self.rank(i, b)).then_with(by_urgency)
                });
                let Some(best) = best else {
                    return Ok(given);
                };
                let cell = runnable.remove(best);
                let mut together = vec![cell];
                if let Some(group) = group_of(&cell.key) {
                    let is_of = |other: &&Cell| group_of(&other.key) == Some(group);
                    together.extend(runnable.iter().copied().filter(is_of));
                    runnable.retain(|other| group_of(&other.key) != Some(group));
                }
                let ours = claim(together)?;
                if !ours.is_empty() {
                    break ours;
                }
            };
            let slot = &mut self.slots[i];
            slot.worker.run(&together)?;
            slot.state = State::Busy {
                keys: together.iter().map(|cell| cell.key.clone()).collect(),
                asks_judge: together.iter().any(|cell| cell.stage().asks_judge()),
            };
            if let Some(checkpoint) = together.first().and_then(|cell| cell.checkpoint()) {
                slot.checkpoint = Some(checkpoint.to_owned());
            }
            slot.last_sign = Instant::now();
            self.times.idle_seconds += idle_since.elapsed().as_secs_f64();
            given.extend(together);
        }
        Ok(given)
    }

    /// How far behind others a cell comes for the worker in a slot, by judges and by checkpoints:
    /// see [`WorkerPool::assign`].
    fn rank(&self, slot: usize, cell: &Cell) -> (u8, u8) {
        let by_judge = match (cell.stage().asks_judge(), self.is_asking()) {
            (true, false) => 0,
            (false, _) => 1,
            (true, true) => 2,
        };
        let loaded_by = |slot: &Slot| slot.checkpoint.as_deref() == cell.checkpoint();
        let by_checkpoint = match cell.checkpoint() {
            None => 1,
            Some(_) if loaded_by(&self.slots[slot]) => 0,
            Some(_) if self.slots.iter().any(loaded_by) => 2,
            Some(_) => 1,
        };
        (by_judge, by_checkpoint)
    }

    /// Wait for what happens next.
    pub fn next_event(&mut self) -> PoolEvent {
        // What has arrived counts before silence: the queue may hold signs of life.
        let arrived = match self.incoming.try_recv() {
            Ok(incoming) => Ok(incoming),
            Err(_) => match self.end_a_silent_worker() {
                Some(event) => return event,
                None => self.incoming.recv_timeout(TICK),
            },
        };
        match arrived {
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
        if matches!(self.slots[i].state, State::Dead) {
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
                PoolEvent::Fatal(
                    Error::new(exit::UNEXPECTED, message)
                        .hint("build both together: `cargo xtask build`"),
                )
            }
            FromWorker::Hello(hello) => PoolEvent::Hello(hello),
            FromWorker::Ready { .. } if !matches!(self.slots[i].state, State::Starting) => self
                .died(
                    i,
                    Cause::Garbled("it says that it is ready again".to_owned()),
                ),
            FromWorker::Ready { refused } => {
                let slot = &mut self.slots[i];
                self.times.start_seconds += slot.started.elapsed().as_secs_f64();
                slot.ready = Some(Instant::now());
                slot.state = State::Idle(Instant::now());
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
                self.slots[i].finish(&key);
                PoolEvent::Done { key, counters }
            }
            FromWorker::Open { failure, counters } => {
                let Some(key) = failure.key.clone() else {
                    return self.failed(i, failure);
                };
                self.slots[i].finish(&key);
                PoolEvent::Open {
                    key,
                    failure,
                    counters,
                }
            }
            FromWorker::Learnt { what } => PoolEvent::Learnt(what),
            FromWorker::Failed(failure) => self.failed(i, failure),
            FromWorker::Fatal(failure) => PoolEvent::Fatal(failure.into()),
            FromWorker::Log { level, message } => PoolEvent::Log(level, message),
        }
    }

    /// Where a failure names a cell of the worker, that cell has failed; else all its cells have.
    /// Where it has none the failure is its own, such as a device that it cannot use: the next
    /// worker would fail alike, so the run ends.
    fn failed(&mut self, i: usize, failure: Failure) -> PoolEvent {
        let slot = &mut self.slots[i];
        let named = failure.key.clone().filter(|key| slot.finish(key));
        let keys = match named {
            Some(key) => vec![key],
            None => slot.finish_all(),
        };
        match keys.is_empty() {
            true => PoolEvent::Fatal(failure.into()),
            false => PoolEvent::Failed { keys, failure },
        }
    }

    /// A worker has closed its output, sent what cannot be read or was silent for too long: end it
    /// if it still runs, and report its cells. Before it was ready that is a warning, or after too
    /// many the end of the run.
    fn died(&mut self, i: usize, cause: Cause) -> PoolEvent {
        let slot = &mut self.slots[i];
        if matches!(slot.state, State::Starting) {
            slot.state = State::Dead;
            return match slot.worker.never_ready(cause) {
                // Something outside has ended it, and may not do so again.
                NeverReady::Killed(message) if self.false_starts < FALSE_STARTS => {
                    self.false_starts += 1;
                    PoolEvent::Log(LogLevel::Warn, format!("{message}; another is started"))
                }
                NeverReady::Killed(message) => PoolEvent::Fatal(
                    Error::new(exit::UNEXPECTED, message)
                        .hint("no worker gets ready; is there memory enough?"),
                ),
                NeverReady::Ended(error) => PoolEvent::Fatal(error),
            };
        }
        let failure = slot.worker.death(cause).failure();
        let keys = slot.keys().to_vec();
        slot.end(&mut self.times);
        if keys.is_empty() {
            // It had nothing to do, so nothing is lost.
            return PoolEvent::Log(LogLevel::Debug, failure.told());
        }
        PoolEvent::Died { keys, failure }
    }

    /// End a worker that has been silent for too long. Of several the others follow at the next
    /// calls.
    fn end_a_silent_worker(&mut self) -> Option<PoolEvent> {
        let was_long_ago = self.looked.elapsed() > AWAY;
        self.looked = Instant::now();
        for slot in &mut self.slots {
            let calls = slot.worker.calls();
            if calls != slot.calls || was_long_ago {
                slot.calls = calls;
                slot.last_sign = Instant::now();
            }
        }
        let allowed = |slot: &Slot| match slot.state {
            State::Starting => self.silence.max(START),
            State::Busy { .. } => self.silence,
            State::Idle(_) | State::Dead => Duration::MAX,
        };
        let silent = |slot: &Slot| slot.last_sign.elapsed() > allowed(slot);
        let i = self.slots.iter().position(silent)?;
        let silence = allowed(&self.slots[i]);
        Some(self.died(i, Cause::Silent(silence)))
    }

    /// End all workers: idle ones are asked to end, others are killed. Returns what supervising
    /// them took.
    pub fn end(mut self) -> Supervision {
        for mut slot in self.slots {
            let is_idle = matches!(slot.state, State::Idle(_));
            slot.end(&mut self.times);
            match is_idle {
                true => slot.worker.shut_down(),
                false => slot.worker.kill(),
            }
        }
        self.times
    }
}
