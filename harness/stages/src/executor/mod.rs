//! Runs cells of one group, whatever their stages are.

mod alone;
mod bisect;
#[cfg(test)]
mod tests;
mod two_pass;
mod within_memory;

use crate::{
    stage::{CellResult, CellWithInputs, Progress, Stage},
    worker::Worker,
};

/// Runs cells of one stage.
pub(crate) type RunOneStage =
    fn(&mut Worker, &[CellWithInputs<'_>], Progress<'_>) -> Vec<CellResult>;

/// Runs cells of one group, those of each stage by the function, which knows the stages.
pub(crate) fn run(
    worker: &mut Worker,
    cells: &[CellWithInputs<'_>],
    progress: Progress<'_>,
    of_one_stage: RunOneStage,
) -> Vec<CellResult> {
    let _no_grad = tch::no_grad_guard();
    within_memory::run(worker, cells, |worker, cells| {
        (cells.chunk_by(|(a, _), (b, _)| a.stage() == b.stage()))
            .flat_map(|cells| of_one_stage(worker, cells, &mut *progress))
            .collect()
    })
}

/// Runs cells of one stage as the stage has it: together, in two passes, or one by one.
pub(crate) fn run_stage<S: Stage>(
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
