//! Runs cells, whatever their stages are: decides what is run together, and what is tried again.
//!
//! `within_memory` stands round every run: cells that memory was too small for are run once more
//! with half the rows in a batch, and the others keep their results. Within it the cells of a stage
//! are run in one of three ways:
//!
//! * `bisect`: cells that share passes over a model are run together. Where that fails and one of
//!   them may be at fault (its SAE's plugin, or what it takes of memory), each half is run by
//!   itself, and so on, until the one at fault is alone.
//! * `two_pass`: several cells that ask a judge are run twice. The first time their questions are
//!   collected and asked in one batch, the second time each cell gets its answers.
//! * `alone`: each cell by itself.

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

/// Runs the cells that the host has sent together. Neighbours of one stage are passed to
/// `of_one_stage`, which knows the stages and calls [`run_stage`]; cells of a group are of one
/// stage. Returns one result for each cell, in their order.
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

/// Runs cells of one stage: together where the stage shares passes over a model, else in two passes
/// where there are several that ask a judge, else one by one.
pub(crate) fn run_stage<S: Stage>(
    stage: &S,
    worker: &mut Worker,
    cells: &[CellWithInputs<'_>],
    progress: Progress<'_>,
) -> Vec<CellResult> {
    if stage.shares_pass() {
        return bisect::run(stage, worker, cells, progress);
    }
    let asks_judge = cells
        .first()
        .is_some_and(|(cell, _)| cell.stage().asks_judge());
    if cells.len() > 1 && asks_judge {
        return two_pass::run(stage, worker, cells, progress);
    }
    (cells.iter())
        .map(|cell| alone::run(stage, worker, cell, &mut *progress))
        .collect()
}
