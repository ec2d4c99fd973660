//! Half batches where memory runs out.
//!
//! Rows are independent, so the size of a batch changes a value by rounding at most: a cell that does not fit is run once more with
//! half the rows. Under `--reproducible` the rounding is part of the promise, and it fails.

use harness_contract::{
    cell::Cell,
    protocol::{Failure, FailureKind},
};
use serde_json::Value;

use super::{CellError, Session, session::Progress, together::CellResult};

/// Rows of the batches of the cells under way.
#[derive(Default)]
pub(super) struct BatchRows {
    /// At most, where memory has run out.
    most: Option<usize>,
    /// Of the largest batch so far.
    largest: usize,
}

impl Session {
    /// Rows that a batch may have: as the run says, else as usual for the stage; fewer where memory has run out.
    pub(super) fn batch_rows(&self, usual: usize) -> usize {
        let rows = self.init.batch.map_or(usual, |rows| rows as usize);
        rows.min(self.batches.most.unwrap_or(rows)).max(1)
    }

    /// Tells that a batch of so many rows is about to be run.
    pub(super) fn batch_of(&mut self, rows: usize) {
        self.batches.largest = self.batches.largest.max(rows);
    }

    /// Runs cells of one group as [`Session::at_once`] does, those that memory was too small for once more in half batches.
    pub(super) fn in_memory(
        &mut self,
        cells: &[(&Cell, Vec<Value>)],
        progress: Progress<'_>,
    ) -> Vec<CellResult> {
        self.batches = BatchRows::default();
        let mut results = self.at_once(cells, progress);
        let rows = self.batches.largest;
        let short = short_of_memory(&results);
        if short.is_empty() || rows < 2 || self.init.reproducible {
            return results;
        }
        let half = rows / 2;
        self.batches.most = Some(half);
        self.note([format!(
            "out of memory in batches of {rows} rows; run again in batches of {half}"
        )]);
        let again: Vec<(&Cell, Vec<Value>)> = short.iter().map(|i| cells[*i].clone()).collect();
        for (place, result) in short.into_iter().zip(self.at_once(&again, progress)) {
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
