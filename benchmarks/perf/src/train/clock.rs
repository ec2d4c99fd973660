//! Time by the clock and of the processor, and trainers whose first step is not counted.

use std::{
    cell::Cell,
    fs,
    ops::{AddAssign, Sub},
    path::Path,
    rc::Rc,
    sync::OnceLock,
    time::Instant,
};

use harness_engine::{error::CellError, plugin::MetricValue};
use harness_training::Learner;
use serde_json::Value;
use tch::{Kind, Tensor};

/// Ticks of a second in which Linux tells programs of their processor time.
const TICKS: f64 = 100.0;

/// Seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Time {
    pub wall: f64,
    /// Of all threads of this process; 0 where the system does not say.
    pub cpu: f64,
}

impl Time {
    /// Since this program first asked.
    pub fn now() -> Self {
        static START: OnceLock<Instant> = OnceLock::new();
        let start = START.get_or_init(Instant::now);
        Self {
            wall: start.elapsed().as_secs_f64(),
            cpu: processor_ticks().unwrap_or(0) as f64 / TICKS,
        }
    }
}

/// Fields 14 and 15 of the process's record, which come after a name in brackets.
fn processor_ticks() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()? + ticks()?)
}

impl Sub for Time {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            wall: self.wall - other.wall,
            cpu: self.cpu - other.cpu,
        }
    }
}

impl AddAssign for Time {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }
}

/// Time that is not counted.
#[derive(Debug, Default)]
pub struct Excluded {
    /// Of making trainers.
    pub made: Cell<Time>,
    /// Of their first steps.
    pub first_steps: Cell<Time>,
}

fn timed<T>(sum: &Cell<Time>, work: impl FnOnce() -> T) -> T {
    let started = Time::now();
    let result = work();
    let mut total = sum.get();
    total += Time::now() - started;
    sum.set(total);
    result
}

/// A trainer whose making and first step are not counted.
pub struct Warm<L> {
    inner: L,
    excluded: Rc<Excluded>,
    is_warm: bool,
}

impl<L: Learner> Warm<L> {
    /// Makes one.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn new(
        excluded: Rc<Excluded>,
        make: impl FnOnce() -> Result<L, CellError>,
    ) -> Result<Self, CellError> {
        let inner = timed(&excluded.made, make)?;
        Ok(Self {
            inner,
            excluded,
            is_warm: false,
        })
    }
}

impl<L: Learner> Learner for Warm<L> {
    fn step(&mut self, x: &Tensor) -> Result<Vec<MetricValue>, CellError> {
        if self.is_warm {
            return self.inner.step(x);
        }
        self.is_warm = true;
        timed(&self.excluded.first_steps, || self.inner.step(x))
    }

    fn save(
        &mut self,
        dir: &Path,
        format: &str,
        kind: Kind,
        provenance: &Value,
    ) -> Result<(), CellError> {
        self.inner.save(dir, format, kind, provenance)
    }

    fn save_state(&mut self, path: &Path) -> Result<(), CellError> {
        self.inner.save_state(path)
    }

    fn load_state(&mut self, path: &Path) -> Result<(), CellError> {
        self.inner.load_state(path)
    }
}
