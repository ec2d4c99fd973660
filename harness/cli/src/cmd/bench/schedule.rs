//! Which cell goes first, and how much of a run is done, by predicted cost.

use std::collections::{BTreeMap, BTreeSet};

use harness_contract::cell::Cell;
use harness_plan::expand::Plan;

/// Cost of the cheapest cells as a share of the mean: what is not predicted takes a moment all the
/// same.
const LEAST_SHARE: f64 = 0.02;

/// Predicted costs of the cells of a run.
pub struct Schedule {
    urgency: BTreeMap<String, f64>,
    cost: BTreeMap<String, f64>,
    total: f64,
    settled: f64,
}

impl Schedule {
    /// Of the cells that are not among `done`.
    pub fn new(plan: &Plan, done: &BTreeSet<String>) -> Schedule {
        let open = plan.cells.iter().filter(|cell| !done.contains(&cell.key));
        let mut cost: BTreeMap<String, f64> = open
            .map(|cell| (cell.key.clone(), plan.predicted_flops(&cell.key)))
            .collect();
        let least = LEAST_SHARE * cost.values().sum::<f64>() / cost.len().max(1) as f64;
        cost.values_mut().for_each(|cost| *cost += least.max(1.0));
        let of = |key: &str| cost.get(key).copied().unwrap_or(0.0);
        // Cells of a group are given out together, so that each is as urgent as all of them.
        let mut together: BTreeMap<usize, f64> = BTreeMap::new();
        for key in cost.keys() {
            if let Some(group) = plan.group_of(key) {
                *together.entry(group).or_default() += of(key);
            }
        }
        let whole = |key: &str| match plan.group_of(key).and_then(|group| together.get(&group)) {
            Some(sum) => *sum,
            None => of(key),
        };
        let urgency = plan.urgency(whole);
        Schedule {
            urgency: (urgency.into_iter())
                .map(|(key, urgency)| (key.to_owned(), urgency))
                .collect(),
            total: cost.values().sum(),
            cost,
            settled: 0.0,
        }
    }

    /// How urgent a cell is: the costs of what must follow it, its own included.
    pub fn urgency(&self, cell: &Cell) -> f64 {
        self.urgency.get(&cell.key).copied().unwrap_or(0.0)
    }

    /// A cell needs no more time.
    pub fn settle(&mut self, key: &str) {
        self.settled += self.cost.remove(key).unwrap_or(0.0);
    }

    /// Share of the work that is done, when these cells under way are done to these shares.
    pub fn share(&self, under_way: &BTreeMap<String, f64>) -> f64 {
        let part = |(key, share): (&String, &f64)| Some(self.cost.get(key)? * share);
        let partly: f64 = under_way.iter().filter_map(part).sum();
        ((self.settled + partly) / self.total.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
    }
}
