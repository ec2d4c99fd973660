//! Cells of one group that share a pass, and the one among them that fails all.

use std::time::Instant;

use harness_contract::{
    bisect::{halves, most_failures},
    protocol::Counters,
};
use harness_engine::{error::CellError, steps};

use super::alone::{begin, left_out};
use crate::{
    stage::{CellResult, CellWithInputs, Inputs, Progress, Stage, json, params_of},
    worker::Worker,
};

/// Prepares each cell by itself, then runs all that could be prepared; one result for each cell.
/// What cannot be prepared fails its own cell. When one of them may have failed the run, it is
/// tried again in halves, so that the others get their results; what they share fails them all.
/// Shared work is counted once, with the first cell of each part.
pub(super) fn run<S: Stage>(
    stage: &S,
    worker: &mut Worker,
    cells: &[CellWithInputs<'_>],
    progress: Progress<'_>,
) -> Vec<CellResult> {
    let mut started = Instant::now();
    let group: Vec<_> = cells.iter().map(|(cell, _)| *cell).collect();
    begin(worker, &group);
    let mut results: Vec<Option<CellResult>> = cells.iter().map(|_| None).collect();
    let (mut members, mut places) = (Vec::new(), Vec::new());
    for (i, cell) in group.into_iter().enumerate() {
        match params_of(cell).and_then(|params| stage.prepare(worker, params)) {
            Ok(member) => {
                members.push(member);
                places.push(i);
            }
            Err(error) => results[i] = Some(Err(error)),
        }
    }
    let mut load = started.elapsed().as_secs_f64();
    let mut failures_left = most_failures(members.len());
    let mut open = vec![(members.as_slice(), places.as_slice())];
    while let Some((members, places)) = open.pop() {
        let Some((cell, values)) = places.first().map(|first| &cells[*first]) else {
            continue;
        };
        worker.counters = Counters::default();
        match stage.run(worker, members, &Inputs { cell, values }, progress) {
            Ok(outputs) => {
                let mut counters = std::mem::take(&mut worker.counters);
                counters.phases.load += std::mem::take(&mut load);
                counters.seconds = started.elapsed().as_secs_f64();
                counters.steps = steps::take();
                started = Instant::now();
                for (place, output) in places.iter().zip(outputs) {
                    let own = std::mem::take(&mut counters);
                    results[*place] = Some(json(&output).map(|value| (value, own)));
                }
            }
            Err(error) => {
                failures_left = failures_left.saturating_sub(1);
                let both = halves(members).zip(halves(places));
                if let Some(((one, other), (here, there))) = both
                    && failures_left > 0
                    && error.may_be_of_one()
                {
                    open.extend([(other, there), (one, here)]);
                    continue;
                }
                let shared = error.failure(None);
                for place in places {
                    results[*place] = Some(Err(CellError::Together(shared.clone())));
                }
            }
        }
    }
    results
        .into_iter()
        .map(|result| result.unwrap_or_else(|| Err(left_out())))
        .collect()
}
