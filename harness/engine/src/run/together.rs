//! Cells of one group, run together.

use std::time::Instant;

use harness_contract::{
    bisect::{halves, most_failures},
    cell::Cell,
    protocol::Counters,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    CellError,
    session::{Session, json},
};
use crate::steps;

/// What becomes of a cell.
pub(super) type CellResult = Result<(Value, Counters), CellError>;

impl Session {
    /// Prepares each cell by itself, then runs all that could be prepared; one result for each cell. What cannot be prepared fails its own
    /// cell. When one of them may have failed the run, it is tried again in halves, so that the others get their results; what they share
    /// fails them all. Shared work is counted once, with the first cell of each part.
    ///
    /// - `prepare`: a member from its cell
    /// - `run`: outputs of the members in their order, from the members and the inputs of the first
    pub(super) fn together<M, O: Serialize + DeserializeOwned>(
        &mut self,
        cells: &[(&Cell, Vec<Value>)],
        prepare: impl Fn(&mut Session, &Cell) -> Result<M, CellError>,
        mut run: impl FnMut(&mut Session, &[M], &[Value]) -> Result<(Vec<O>, Counters), CellError>,
    ) -> Vec<CellResult> {
        let mut started = Instant::now();
        // What a cell that failed has left is not of these.
        steps::take();
        let mut results: Vec<Option<CellResult>> = cells.iter().map(|_| None).collect();
        let (mut members, mut places) = (Vec::new(), Vec::new());
        for (i, (cell, _)) in cells.iter().enumerate() {
            match prepare(self, cell) {
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
            let Some(first) = places.first() else {
                continue;
            };
            match run(self, members, &cells[*first].1) {
                Ok((outputs, mut counters)) => {
                    counters.phases.load += std::mem::take(&mut load);
                    counters.seconds = started.elapsed().as_secs_f64();
                    counters.steps = steps::take();
                    started = Instant::now();
                    for (n, (place, output)) in places.iter().zip(outputs).enumerate() {
                        let own = if n == 0 {
                            counters
                        } else {
                            Counters::default()
                        };
                        results[*place] = Some(json(&output).map(|value| (value, own)));
                    }
                }
                Err(error) => {
                    failures_left = failures_left.saturating_sub(1);
                    let parts = halves(members).zip(halves(places));
                    if let Some(((one, other), (here, there))) = parts
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
        let left_out = || CellError::Invalid("a cell of the group was left out".to_owned());
        results
            .into_iter()
            .map(|result| result.unwrap_or_else(|| Err(left_out())))
            .collect()
    }
}
