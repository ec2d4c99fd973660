//! Runs cells: the worker's side of each stage, over models and SAEs that stay loaded between
//! cells.
//!
//! ```text
//! serve ──► executor ──► Stage::run ──► a pass of the engine (run_grid, denoise, …)
//!            within_memory: half batches for cells that memory was too small for
//!            bisect:        halves of a group that failed as a whole
//!            two_pass:      the questions of several cells in one batch of a judge
//! ```
//! [`serve`] speaks the worker's side of the line protocol. The executor knows how cells are run
//! and no stage; the list of the stages stands in this file. A stage reads its parameters and the
//! outputs of earlier cells, and nothing else, so that a cell's value depends on its key alone;
//! what it may use of the worker is its [`Worker`].

mod asking;
mod assets;
mod autointerp;
mod decoding;
mod executor;
mod explain;
mod fidelity;
mod generation;
mod memory;
mod rows;
mod serve;
mod stage;
mod steering;
mod texts;
mod worker;

pub use serve::serve;
pub use worker::Worker;

use harness_contract::stages::Params;

use crate::{
    autointerp::{Features, Windows, predict::predict},
    decoding::decoding,
    executor::run_stage,
    explain::explain,
    fidelity::{Fidelity, rollout::rollout},
    stage::{CellResult, CellWithInputs, PerCell, Progress},
    steering::{baseline, judge, perplexity, score, steer},
};

/// Runs the cells of one message of the host, a single cell or cells of a group, each with the
/// values of the cells that it needs. One result for each, in the order of `cells`; they are
/// written when all are there.
pub(crate) fn run(
    worker: &mut Worker,
    cells: &[CellWithInputs<'_>],
    progress: Progress<'_>,
) -> Vec<CellResult> {
    executor::run(worker, cells, progress, of_one_stage)
}

/// Runs cells of one stage. This is the list of the stages: the parameters of a cell say of which
/// it is.
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
        Params::Explain(_) => run_stage(&PerCell(explain), worker, cells, progress),
        Params::Predict(_) => run_stage(&PerCell(predict), worker, cells, progress),
        Params::Baseline(_) => run_stage(&PerCell(baseline), worker, cells, progress),
        Params::Steer(_) => run_stage(&PerCell(steer), worker, cells, progress),
        Params::Perplexity(_) => run_stage(&PerCell(perplexity), worker, cells, progress),
        Params::Judge(_) => run_stage(&PerCell(judge), worker, cells, progress),
        Params::Score(_) => run_stage(&PerCell(score), worker, cells, progress),
        Params::Rollout(_) => run_stage(&PerCell(rollout), worker, cells, progress),
        Params::Fidelity(_) => run_stage(&Fidelity, worker, cells, progress),
        Params::Decoding(_) => run_stage(&PerCell(decoding), worker, cells, progress),
    }
}
