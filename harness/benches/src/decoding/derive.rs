use std::collections::BTreeMap;

use harness_core::{
    dynamics::{Cut, DynamicsError, DynamicsSums, Metric, View},
    record::Status,
    stats::{Bootstrap, Estimate, wilson_interval},
    task::{accuracy, answer::Extraction},
};
use serde::de::Error as _;

use harness_contract::outputs::{Answer, DecodingOutput};
use harness_plan::expand::{Plan, PlannedRow};
use harness_store::{Lookup, Store, StoreError};

use super::rows::{AccuracyRow, DynamicsRow, PairedRow};
use super::work::{DecodingWork, Followed, OrderWork};

/// Prompts are resampled in at most so many units, so that memory does not grow with their number.
const MOST_UNITS: usize = 256;

/// Rows of the decoding-order bench.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecodingTables {
    /// By layer and step: what the heat maps show.
    pub steps: Vec<DynamicsRow>,
    /// By bin of the progress, mean over layers: what the curves show.
    pub curves: Vec<DynamicsRow>,
    /// By layer and generated position, where asked for.
    pub positions: Vec<DynamicsRow>,
    /// By layer, and over all layers.
    pub summary: Vec<DynamicsRow>,
    /// Right answers of each order.
    pub accuracy: Vec<AccuracyRow>,
    /// Orders two by two on the same questions.
    pub paired: Vec<PairedRow>,
    /// Lines or rows of the question files that hold no question.
    pub n_bad_rows: u64,
}

/// What one order has left.
struct OrderSums {
    status: Status,
    n_done: usize,
    sums: DynamicsSums,
    answers: BTreeMap<u64, Scored>,
    n_bad_rows: u64,
}

/// What counts of one answer.
struct Scored {
    /// By extraction: whether it is right; `None` without a gold answer.
    is_correct: [Option<bool>; 2],
    /// By extraction: whether an answer was found.
    is_found: [bool; 2],
    steps: u32,
}

/// A value that is asked of the sums, with its place in a table.
struct Asked {
    sae: Option<Followed>,
    at: Option<usize>,
    progress: Option<f64>,
    what: (Metric, View, Cut),
}

impl Scored {
    fn of(answer: &Answer) -> Scored {
        Scored {
            is_correct: Extraction::ALL.map(|how| answer.is_correct(how)),
            is_found: Extraction::ALL.map(|how| answer.found(how).is_some()),
            steps: answer.steps,
        }
    }
}

/// The tables of a plan's rows; without any cell done, every value is there all the same, empty and
/// with a status.
///
/// # Errors
/// When the store cannot be read, or an output is not what its stage leaves.
pub fn derive(plan: &Plan, store: &Store) -> Result<DecodingTables, StoreError> {
    let mut tables = DecodingTables::default();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for row in &plan.rows {
        let id = (row.model.as_str(), row.sae.set.as_str());
        // The rows of one SAE set are one work.
        if let Some(work) = row.work::<DecodingWork>().filter(|_| !seen.contains(&id)) {
            seen.push(id);
            tables.add(row, work, store)?;
        }
    }
    Ok(tables)
}

impl DecodingTables {
    fn add(
        &mut self,
        row: &PlannedRow,
        work: &DecodingWork,
        store: &Store,
    ) -> Result<(), StoreError> {
        let set = &work.settings;
        let bootstrap = Bootstrap {
            resamples: set.resamples,
            seed: set.seed,
        };
        let mut orders = Vec::new();
        for order in &work.orders {
            let left = order_sums(work, order, store)?;
            let rows = |asked: Vec<Asked>| -> Result<Vec<DynamicsRow>, StoreError> {
                let what: Vec<_> = asked.iter().map(|a| a.what).collect();
                let found = (left.sums.estimates(&what, bootstrap))
                    .map_err(|error| damaged(order, &error))?;
                let row = |(asked, found): (Asked, Estimate)| DynamicsRow {
                    model: row.model.clone(),
                    order: order.order.clone(),
                    layer: asked.sae.as_ref().map(|sae| sae.layer),
                    sae_id: asked.sae.map(|sae| sae.id),
                    at: asked.at.map(|at| at as u32),
                    progress: asked.progress,
                    metric: asked.what.0,
                    estimate: Estimate {
                        n: found.n.filter(|_| left.n_done > 0),
                        ..found
                    },
                    status: left.status,
                };
                Ok(asked.into_iter().zip(found).map(row).collect())
            };
            self.steps.extend(rows(by_step(work))?);
            self.curves.extend(rows(by_bin(work))?);
            if set.by_position {
                self.positions.extend(rows(by_position(work))?);
            }
            // Every part has read the same files.
            self.n_bad_rows = self.n_bad_rows.max(left.n_bad_rows);
            self.summary.extend(rows(summary(work))?);
            self.accuracy.extend(accuracies(row, work, order, &left));
            orders.push((order, left));
        }
        for (i, (order_a, a)) in orders.iter().enumerate() {
            for (order_b, b) in &orders[i + 1..] {
                self.paired
                    .extend(paired(row, work, (&order_a.order, a), (&order_b.order, b)));
            }
        }
        Ok(())
    }
}

/// Layer × step × metric; the first pass has nothing before it.
fn by_step(work: &DecodingWork) -> Vec<Asked> {
    let n_steps = work.settings.dlm_steps as usize;
    let mut asked = Vec::new();
    for (l, sae) in work.saes.iter().enumerate() {
        for step in 1..n_steps {
            asked.extend(Metric::ALL.map(|metric| Asked {
                sae: Some(sae.clone()),
                at: Some(step),
                progress: Some(step as f64 / (n_steps - 1) as f64),
                what: (
                    metric,
                    View::Layer(l),
                    Cut::Steps {
                        first: step,
                        end: step + 1,
                    },
                ),
            }));
        }
    }
    asked
}

/// Bins of the progress τ = k/(K-1), each without its lower end: bin b holds τ in (b/bins,
/// (b+1)/bins]. There are no more bins than transitions, so that none is empty.
fn by_bin(work: &DecodingWork) -> Vec<Asked> {
    let last = (work.settings.dlm_steps as usize).saturating_sub(1);
    let bins = (work.settings.bins as usize).min(last);
    let bin_of = |step: usize| (step * bins).div_ceil(last) - 1;
    let mut asked = Vec::new();
    for bin in 0..bins {
        let mut steps = (1..=last).filter(|step| bin_of(*step) == bin);
        let Some(first) = steps.next() else {
            continue;
        };
        let end = steps.next_back().unwrap_or(first) + 1;
        asked.extend(Metric::ALL.map(|metric| Asked {
            sae: None,
            at: Some(bin),
            progress: Some((bin as f64 + 0.5) / bins as f64),
            what: (metric, View::AllLayers, Cut::Steps { first, end }),
        }));
    }
    asked
}

fn by_position(work: &DecodingWork) -> Vec<Asked> {
    let n = work.settings.max_new_tokens as usize;
    let mut asked = Vec::new();
    for (l, sae) in work.saes.iter().enumerate() {
        for i in 0..n {
            asked.extend(Metric::ALL.map(|metric| Asked {
                sae: Some(sae.clone()),
                at: Some(i),
                progress: Some(i as f64 / (n - 1).max(1) as f64),
                what: (metric, View::Layer(l), Cut::Position(i)),
            }));
        }
    }
    asked
}

fn summary(work: &DecodingWork) -> Vec<Asked> {
    let saes = (work.saes.iter().enumerate()).map(|(l, sae)| (Some(sae), View::Layer(l)));
    saes.chain([(None, View::AllLayers)])
        .flat_map(|(sae, view)| {
            Metric::ALL.map(|metric| Asked {
                sae: sae.cloned(),
                at: None,
                progress: None,
                what: (metric, view, Cut::Run),
            })
        })
        .collect()
}

/// The sums and answers of the parts that are done.
fn order_sums(
    work: &DecodingWork,
    order: &OrderWork,
    store: &Store,
) -> Result<OrderSums, StoreError> {
    let set = &work.settings;
    let (n_steps, n_positions) = (set.dlm_steps as usize, set.max_new_tokens as usize);
    let layers = work.saes.iter().map(|sae| sae.layer).collect();
    let mut sums = DynamicsSums::new(layers, n_steps, n_positions);
    let mut answers = BTreeMap::new();
    let (mut n_done, mut n_failed, mut n_bad_rows) = (0, 0, 0);
    for key in &order.parts {
        match store.lookup(key)? {
            Lookup::Done(_) => {}
            Lookup::Failed(_) => {
                n_failed += 1;
                continue;
            }
            Lookup::Missing | Lookup::Damaged { .. } => continue,
        }
        let part: DecodingOutput = store.output(key)?;
        n_done += 1;
        n_bad_rows = n_bad_rows.max(part.n_bad_rows);
        sums.merge(part.dynamics, MOST_UNITS)
            .map_err(|error| damaged(order, &error))?;
        answers.extend(part.answers.iter().map(|a| (a.question, Scored::of(a))));
    }
    let status = match (n_done, n_failed) {
        (done, _) if done == order.parts.len() => Status::Ok,
        (0, 0) => Status::Missing,
        (0, _) => Status::Failed,
        _ => Status::Partial,
    };
    Ok(OrderSums {
        status,
        n_done,
        sums,
        answers,
        n_bad_rows,
    })
}

fn damaged(order: &OrderWork, error: &DynamicsError) -> StoreError {
    StoreError::Output {
        key: order.parts.first().cloned().unwrap_or_default(),
        source: serde_json::Error::custom(error),
    }
}

fn accuracies(
    row: &PlannedRow,
    work: &DecodingWork,
    order: &OrderWork,
    left: &OrderSums,
) -> [AccuracyRow; 2] {
    let is_there = left.n_done > 0;
    let all = || left.answers.values();
    let mut which = 0..;
    Extraction::ALL.map(|extraction| {
        let e: usize = which.next().unwrap_or(0);
        let scored: Vec<&Scored> = all().filter(|a| a.is_correct[e].is_some()).collect();
        let n = scored.len() as u64;
        let correct = (scored.iter().filter(|a| a.is_correct[e] == Some(true))).count() as u64;
        let interval = wilson_interval(correct, n, accuracy::LEVEL);
        let n_answers = left.answers.len();
        let steps: u64 = all().map(|answer| u64::from(answer.steps)).sum();
        AccuracyRow {
            model: row.model.clone(),
            order: order.order.clone(),
            preset: work.settings.preset.id(),
            extraction: extraction.name().to_owned(),
            n: is_there.then_some(n),
            correct: is_there.then_some(correct),
            accuracy: (n > 0).then(|| correct as f64 / n as f64),
            lo: interval.map(|interval| interval.low),
            hi: interval.map(|interval| interval.high),
            n_no_answer: is_there.then(|| scored.iter().filter(|a| !a.is_found[e]).count() as u64),
            n_gold_unread: is_there.then_some(n_answers as u64 - n),
            mean_steps: (n_answers > 0).then(|| steps as f64 / n_answers as f64),
            status: left.status,
        }
    })
}

/// Two orders on the questions that both have answered.
fn paired(
    row: &PlannedRow,
    work: &DecodingWork,
    (order_a, a): (&str, &OrderSums),
    (order_b, b): (&str, &OrderSums),
) -> [PairedRow; 2] {
    let mut which = 0..;
    Extraction::ALL.map(|extraction| {
        let e: usize = which.next().unwrap_or(0);
        // Both right, the first only, the second only, neither.
        let mut counts = [0_u64; 4];
        for (question, ours) in &a.answers {
            let theirs = b.answers.get(question).and_then(|t| t.is_correct[e]);
            match (ours.is_correct[e], theirs) {
                (Some(true), Some(true)) => counts[0] += 1,
                (Some(true), Some(false)) => counts[1] += 1,
                (Some(false), Some(true)) => counts[2] += 1,
                (Some(false), Some(false)) => counts[3] += 1,
                (None, _) | (_, None) => {}
            }
        }
        let [both, only_a, only_b, neither] = counts;
        let found = accuracy::paired(both, only_a, only_b, neither);
        let is_there = a.n_done > 0 && b.n_done > 0;
        let status = match (a.status, b.status) {
            (a, b) if a == b => a,
            _ if is_there => Status::Partial,
            (Status::Failed, _) | (_, Status::Failed) => Status::Failed,
            _ => Status::Missing,
        };
        PairedRow {
            model: row.model.clone(),
            preset: work.settings.preset.id(),
            extraction: extraction.name().to_owned(),
            order_a: order_a.to_owned(),
            order_b: order_b.to_owned(),
            n: is_there.then(|| counts.iter().sum()),
            only_a: is_there.then_some(only_a),
            only_b: is_there.then_some(only_b),
            difference: found.as_ref().map(|paired| paired.difference),
            lo: found.as_ref().map(|paired| paired.lo),
            hi: found.as_ref().map(|paired| paired.hi),
            p_value: found.as_ref().map(|paired| paired.p_value),
            status,
        }
    })
}
