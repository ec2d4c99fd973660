use std::collections::{BTreeMap, BTreeSet};

use crate::expand::Plan;
use harness_contract::cell::Cell;
use harness_store::{Lookup, Store, StoreError};

/// What any cell takes at least: it is given out, read and written.
const LEAST_SECONDS: f64 = 0.05;

/// How long cells take: as cells of the same stage and model have taken, else by what they compute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// By stage and checkpoint.
    measured: BTreeMap<(&'static str, String), Measured>,
    /// Of all stages that compute.
    all: Measured,
    /// Floating-point operations a second, for what nothing is measured of.
    assumed: f64,
    done: BTreeSet<String>,
}

/// What cells have taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Measured {
    cells: f64,
    seconds: f64,
    flops: f64,
}

impl Measured {
    fn add(&mut self, seconds: f64, flops: f64) {
        self.cells += 1.0;
        self.seconds += seconds;
        self.flops += flops;
    }
}

impl Estimate {
    /// From the cells of a plan that are in a store; `flops` predicts what a cell computes, 0 where
    /// that is nothing or not known. While none of them computes, a worker is taken to do `assumed`
    /// floating-point operations a second.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn of(
        plan: &Plan,
        store: &Store,
        assumed: f64,
        flops: impl Fn(&str) -> f64,
    ) -> Result<Estimate, StoreError> {
        let mut estimate = Estimate::assumed(assumed);
        for cell in &plan.cells {
            if let Lookup::Done(record) = store.lookup(&cell.key)? {
                estimate.add(cell, record.provenance.counters.seconds, flops(&cell.key));
                estimate.done.insert(cell.key.clone());
            }
        }
        Ok(estimate)
    }

    /// Before anything was measured: a worker is taken to do so many floating-point operations a
    /// second.
    pub fn assumed(flops_a_second: f64) -> Estimate {
        Estimate {
            assumed: flops_a_second,
            ..Estimate::default()
        }
    }

    pub(super) fn add(&mut self, cell: &Cell, seconds: f64, flops: f64) {
        self.measured
            .entry(name(cell))
            .or_default()
            .add(seconds, flops);
        if flops > 0.0 {
            self.all.add(seconds, flops);
        }
    }

    /// Whether a cell is done.
    pub fn is_done(&self, key: &str) -> bool {
        self.done.contains(key)
    }

    /// Cells that are done.
    pub fn n_done(&self) -> usize {
        self.done.len()
    }

    /// Seconds that a cell takes, about, which computes so much.
    pub fn seconds(&self, cell: &Cell, flops: f64) -> f64 {
        let seconds = match self.measured.get(&name(cell)) {
            Some(like) if flops > 0.0 && like.flops > 0.0 => flops * like.seconds / like.flops,
            Some(like) => like.seconds / like.cells,
            None if self.all.flops > 0.0 => flops * self.all.seconds / self.all.flops,
            None => flops / self.assumed,
        };
        match seconds.is_finite() {
            true => seconds.max(LEAST_SECONDS),
            false => LEAST_SECONDS,
        }
    }
}

fn name(cell: &Cell) -> (&'static str, String) {
    let checkpoint = cell.checkpoint().unwrap_or_default();
    (cell.stage().name(), checkpoint.to_owned())
}
