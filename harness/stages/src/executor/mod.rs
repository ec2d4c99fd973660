//! Runs cells of one group, whatever their stages are.

mod alone;
mod bisect;
#[cfg(test)]
mod tests;
mod two_pass;
mod within_memory;

use harness_contract::stages::Params;

use crate::{
    autointerp::{Features, Windows, predict::predict},
    decoding::decoding,
    explain::explain,
    fidelity::Fidelity,
    rollout::rollout,
    stage::{Alone, CellResult, CellWithInputs, Progress, Stage},
    steering::{baseline, judge, perplexity, score, steer},
    worker::Worker,
};

/// Runs cells of one group on the outputs of their inputs; one result for each, in their order.
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
        .map(|cell| alone::run(stage, worker, cell, &mut *progress))
        .collect()
}
