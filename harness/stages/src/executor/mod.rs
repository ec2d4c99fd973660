//! Runs cells of one group, whatever their stages are.

mod bisect;
#[cfg(test)]
mod tests;
mod two_pass;
mod within_memory;

use std::time::Instant;

use harness_contract::{cell::Cell, stages::Params};
use harness_engine::{
    error::{CellError, OpenCell},
    steps,
};

use crate::{
    autointerp::{Features, Windows, predict::predict},
    decoding::decoding,
    explain::explain,
    fidelity::Fidelity,
    rollout::rollout,
    stage::{Alone, CellResult, CellWithInputs, Inputs, Progress, Stage, json, params_of},
    steering::{baseline, judge, perplexity, score, steer},
    worker::Worker,
};

/// Runs cells of one group (see [`Cell::group`]) on the outputs of their inputs; one result for
/// each, in their order.
pub(crate) fn run(
    worker: &mut Worker,
    cells: &[CellWithInputs<'_>],
    progress: Progress<'_>,
) -> Vec<CellResult> {
    let _no_grad = tch::no_grad_guard();
    within_memory::run(worker, cells, |worker, cells| {
        (cells.chunk_by(|(a, _), (b, _)| a.stage() == b.stage()))
            .flat_map(|cells| of_one_stage(worker, cells, &mut *progress))
            .collect()
    })
}

/// The list of the stages: what runs cells of each.
fn of_one_stage(
    worker: &mut Worker,
    cells: &[CellWithInputs<'_>],
    progress: Progress<'_>,
) -> Vec<CellResult> {
    let Some((first, _)) = cells.first() else {
        return Vec::new();
    };
    match &first.params {
        Params::Features(_) => run_stage(&Features, worker, cells, progress),
        Params::Windows(_) => run_stage(&Windows, worker, cells, progress),
        Params::Explain(_) => run_stage(&Alone(explain), worker, cells, progress),
        Params::Predict(_) => run_stage(&Alone(predict), worker, cells, progress),
        Params::Baseline(_) => run_stage(&Alone(baseline), worker, cells, progress),
        Params::Steer(_) => run_stage(&Alone(steer), worker, cells, progress),
        Params::Perplexity(_) => run_stage(&Alone(perplexity), worker, cells, progress),
        Params::Judge(_) => run_stage(&Alone(judge), worker, cells, progress),
        Params::Score(_) => run_stage(&Alone(score), worker, cells, progress),
        Params::Rollout(_) => run_stage(&Alone(rollout), worker, cells, progress),
        Params::Fidelity(_) => run_stage(&Fidelity, worker, cells, progress),
        Params::Decoding(_) => run_stage(&Alone(decoding), worker, cells, progress),
    }
}

/// Runs cells of one stage as the stage has it: together, in two passes, or one by one.
fn run_stage<S: Stage>(
    stage: &S,
    worker: &mut Worker,
    cells: &[CellWithInputs<'_>],
    progress: Progress<'_>,
) -> Vec<CellResult> {
    if stage.shares_pass() {
        return bisect::run(stage, worker, cells, progress);
    }
    let asks_judge = |(cell, _): &CellWithInputs<'_>| cell.stage().asks_judge();
    if cells.len() > 1 && cells.iter().all(asks_judge) {
        return two_pass::run(stage, worker, cells, progress);
    }
    (cells.iter())
        .map(|cell| alone(stage, worker, cell, &mut *progress))
        .collect()
}

/// Runs one cell of a stage whose cells share nothing.
fn alone<S: Stage>(
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
fn begin(worker: &mut Worker, cells: &[&Cell]) {
    worker.counters = Default::default();
    worker.judges.begin();
    // What a cell that failed has left is not of these.
    steps::take();
    let saes: Vec<_> = cells.iter().flat_map(|cell| cell.params.saes()).collect();
    if !saes.is_empty() {
        worker.assets.keep_saes(&saes);
    }
}

fn left_out() -> CellError {
    CellError::Invalid("a cell of the group was left out".to_owned())
}
