//! Half batches where memory runs out.
//!
//! Rows are independent, so the size of a batch changes a value by rounding at most: a cell that
//! does not fit is run once more with half the rows. Under `--reproducible` the rounding is part of
//! the promise, and it fails.

use harness_contract::protocol::{Failure, FailureKind};
use harness_engine::error::CellError;

use crate::{
    stage::{CellResult, CellWithInputs},
    worker::Worker,
};

/// Runs cells, and those that memory was too small for once more in half batches.
pub(super) fn run(
    worker: &mut Worker,
    cells: &[CellWithInputs<'_>],
    mut run: impl FnMut(&mut Worker, &[CellWithInputs<'_>]) -> Vec<CellResult>,
) -> Vec<CellResult> {
    worker.batches.limit(None);
    let mut results = run(worker, cells);
    let rows = worker.batches.largest();
    let short = short_of_memory(&results);
    if short.is_empty() || rows < 2 || worker.init.reproducible {
        return results;
    }
    let half = rows / 2;
    worker.batches.limit(Some(half));
    worker.notes.add([format!(
        "out of memory in batches of {rows} rows; run again in batches of {half}"
    )]);
    let again: Vec<_> = short.iter().map(|i| cells[*i].clone()).collect();
    for (place, result) in short.into_iter().zip(run(worker, &again)) {
        results[place] = match result {
            Ok((value, mut counters)) => {
                counters.halved_cells = 1;
                Ok((value, counters))
            }
            Err(error) => Err(in_vain(&error, rows, half)),
        };
    }
    results
}

/// Places of the cells that memory was too small for.
fn short_of_memory(results: &[CellResult]) -> Vec<usize> {
    let is_short = |result: &CellResult| match result {
        Ok(_) => false,
        Err(error) => error.failure(None).kind == FailureKind::OutOfMemory,
    };
    (0..results.len())
        .filter(|i| is_short(&results[*i]))
        .collect()
}

/// The error of the second attempt, with what was tried.
fn in_vain(error: &CellError, rows: usize, half: usize) -> CellError {
    let failure = error.failure(None);
    if failure.kind != FailureKind::OutOfMemory {
        return CellError::Together(failure);
    }
    CellError::Together(Failure {
        message: format!(
            "{}; batches of {rows} and of {half} rows were tried (hint: --batch takes fewer, --device cpu another memory)",
            failure.message
        ),
        ..failure
    })
}
