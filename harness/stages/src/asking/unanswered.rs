use std::collections::BTreeMap;

use harness_abi::ErrorCode;
use harness_engine::{
    error::CellError,
    plugin::{Answer, PluginFailure},
};

use super::outcome::outcome_of;

/// Questions of a cell to an online judge that have no answer for reasons outside: their values are
/// missing, and the cell is run again.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    n_asked: usize,
    counts: BTreeMap<&'static str, u64>,
    /// What the first of them met.
    first: Option<String>,
}

impl Unanswered {
    /// Counts what has no answer.
    ///
    /// # Errors
    /// A failure of one question that every question would meet.
    pub(super) fn count(
        &mut self,
        answers: &[Result<Answer, PluginFailure>],
    ) -> Result<(), CellError> {
        self.n_asked += answers.len();
        for failure in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            if [ErrorCode::AUTH, ErrorCode::CONFIG].contains(&failure.code) {
                return Err(CellError::NoJudge(failure.clone()));
            }
            let outcome = outcome_of(failure, true);
            if outcome.is_open() {
                *self.counts.entry(outcome.name()).or_default() += 1;
                self.first.get_or_insert_with(|| failure.message.clone());
            }
        }
        Ok(())
    }

    /// How many there are and why; `None` without any.
    pub(crate) fn told(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        let n: u64 = self.counts.values().sum();
        let kinds: Vec<String> = (self.counts.iter())
            .map(|(kind, n)| format!("{kind} {n}"))
            .collect();
        Some(format!(
            "{n} of {} questions to the judge have no answer ({}): {first}",
            self.n_asked,
            kinds.join(", ")
        ))
    }
}

/// The failure of a whole call of a judge, which every further call would meet; a judge that is
/// broken fails its cell alone.
pub(super) fn no_judge(failure: PluginFailure) -> CellError {
    let is_broken = [
        ErrorCode::INTERNAL,
        ErrorCode::PANIC,
        ErrorCode::OUT_OF_MEMORY,
        ErrorCode::UNSUPPORTED,
    ];
    match is_broken.contains(&failure.code) {
        true => CellError::Plugin(failure),
        false => CellError::NoJudge(failure),
    }
}
