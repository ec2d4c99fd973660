//! One cell by itself, and what the beginning of any has in common.

use std::time::Instant;

use harness_contract::cell::Cell;
use harness_engine::{
    error::{CellError, OpenCell},
    steps,
};

use crate::{
    stage::{CellResult, CellWithInputs, Inputs, Progress, Stage, json, params_of},
    worker::Worker,
};

/// Runs one cell of a stage whose cells share nothing.
pub(super) fn run<S: Stage>(
    stage: &S,
    worker: &mut Worker,
    (cell, inputs): &CellWithInputs<'_>,
    progress: Progress<'_>,
) -> CellResult {
    let started = Instant::now();
    let work_before = worker.assets.work();
    begin(worker, &[cell]);
    let member = stage.prepare(worker, params_of(cell)?)?;
    let inputs = Inputs {
        cell,
        values: inputs,
    };
    let outputs = stage.run(worker, &[member], &inputs, progress)?;
    let output = outputs.first().ok_or_else(left_out).and_then(json)?;
    let (work, flops) = worker.assets.work_since(&work_before);
    let mut counters = worker.counters;
    counters.add(&worker.judges.counters);
    counters.seconds = started.elapsed().as_secs_f64();
    counters.block_passes = work.block_passes;
    counters.head_rows = work.head_rows;
    counters.flops += flops;
    counters.steps = steps::take();
    match worker.judges.unanswered() {
        None => Ok((output, counters)),
        Some(why) => Err(CellError::Open(Box::new(OpenCell {
            output,
            counters,
            why,
        }))),
    }
}

/// Begins to count anew, and drops the SAEs that cells do without, where they use some.
pub(super) fn begin(worker: &mut Worker, cells: &[&Cell]) {
    worker.counters = Default::default();
    worker.judges.begin();
    // What a cell that failed has left is not of these.
    steps::take();
    let saes: Vec<_> = cells.iter().flat_map(|cell| cell.params.saes()).collect();
    if !saes.is_empty() {
        worker.assets.keep_saes(&saes);
    }
}

pub(super) fn left_out() -> CellError {
    CellError::Invalid("a cell of the group was left out".to_owned())
}
