//! Cells that ask a judge. A batch of questions takes up to a day, so cells that could ask at the
//! same time do: they are run once to collect what they ask, and once with the answers.

use harness_engine::error::CellError;

use super::alone;
use crate::{
    stage::{CellResult, CellWithInputs, Progress, Stage},
    worker::Worker,
};

/// Runs cells that ask, with all their questions in as few batches as there are judges.
pub(super) fn run<S: Stage>(
    stage: &S,
    worker: &mut Worker,
    cells: &[CellWithInputs<'_>],
    progress: Progress<'_>,
) -> Vec<CellResult> {
    worker.judges.collect_questions();
    for cell in cells {
        // A cell that ends otherwise does so again below, where it counts.
        let _ = alone::run(stage, worker, cell, &mut |_, _, _| Ok(()));
    }
    let shared = worker.judges.ask_collected(progress);
    let mut results: Vec<CellResult> = (cells.iter())
        .map(|cell| alone::run(stage, worker, cell, &mut *progress))
        .collect();
    worker.judges.forget_collected();
    // What was shared is counted once, with the first cell that has a value.
    let first = results.iter_mut().find_map(|result| match result {
        Ok((_, counters)) => Some(counters),
        Err(CellError::Open(open)) => Some(&mut open.counters),
        Err(_) => None,
    });
    if let Some(counters) = first {
        counters.add(&shared);
    }
    results
}
