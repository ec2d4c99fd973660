//! Questions of several cells in one batch: a batch takes up to a day, so cells that could ask at the same time do.

use std::collections::BTreeMap;

use harness_contract::{cell::Cell, protocol::Failure};
use harness_store::replies::Replies;
use serde_json::Value;

use super::{Answers, Desk, Respondent, sweep};
use crate::{
    plugin::{Answer, PluginFailure, Question},
    run::{CellError, Progress, Session, together::CellResult},
};

/// Where cells that ask together stand.
pub(in crate::run) enum Joint {
    /// They are run to hear what they ask, and end there.
    Listening(Vec<Asked>),
    /// Everything was asked.
    Answered {
        /// Answers by the key of their question.
        answers: BTreeMap<String, Result<Answer, PluginFailure>>,
        /// Why some questions have none.
        failure: Option<Failure>,
    },
}

/// What one cell asks.
pub(in crate::run) struct Asked {
    who: Respondent,
    questions: Vec<Question>,
}

impl Session {
    /// Runs cells that ask a judge, with all their questions in as few batches as there are judges.
    pub(in crate::run) fn ask_together(
        &mut self,
        cells: &[(&Cell, Vec<Value>)],
        progress: Progress<'_>,
    ) -> Vec<CellResult> {
        self.joint = Some(Joint::Listening(Vec::new()));
        for (cell, inputs) in cells {
            // A cell that ends otherwise does so again below, where it counts.
            let _ = self.run(cell, inputs, &mut |_, _, _| Ok(()));
        }
        let asked = match self.joint.take() {
            Some(Joint::Listening(asked)) => asked,
            _ => Vec::new(),
        };
        self.counters = Default::default();
        let (mut answers, mut failure) = (BTreeMap::new(), None);
        for (who, questions) in by_judge(asked) {
            if let Err(error) = self.ask_all(&who, &questions, &mut answers, progress) {
                failure.get_or_insert(error.failure(None));
            }
        }
        let shared = self.counters;
        self.joint = Some(Joint::Answered { answers, failure });
        let mut results: Vec<CellResult> = (cells.iter())
            .map(|(cell, inputs)| self.run(cell, inputs, progress))
            .collect();
        self.joint = None;
        // What was shared is counted once, with the first cell that has a value.
        let first = results.iter_mut().find_map(|result| match result {
            Ok((_, counters)) => Some(counters),
            Err(CellError::Open(open)) => Some(&mut open.counters),
            Err(_) => None,
        });
        if let Some(counters) = first {
            counters.add(&shared);
        }
        results
    }

    /// Hears or answers the questions of a cell that is run with others; `None` for one that is run alone.
    pub(super) fn jointly(
        &mut self,
        who: &Respondent,
        questions: &[Question],
        replies: &Replies,
    ) -> Option<Result<Answers, CellError>> {
        match self.joint.as_mut()? {
            Joint::Listening(asked) => {
                asked.push(Asked {
                    who: who.clone(),
                    questions: questions.to_vec(),
                });
                Some(Err(CellError::Stopped))
            }
            Joint::Answered { answers, failure } => {
                Some(answered(who, questions, replies, answers, failure.as_ref()))
            }
        }
    }

    /// Asks in batches and adds what was answered.
    fn ask_all(
        &mut self,
        who: &Respondent,
        questions: &[Question],
        answers: &mut BTreeMap<String, Result<Answer, PluginFailure>>,
        progress: Progress<'_>,
    ) -> Result<(), CellError> {
        let Some(shared) = &who.judge else {
            return Ok(());
        };
        let replies = Replies::new(&self.init.judging.replies);
        let mut desk = Desk::new(&who.identity, questions, &replies)?;
        desk.take_kept()?;
        let asked = match desk.open().is_empty() {
            true => sweep(&replies),
            false => self.ask_in_batches(&mut shared.borrow_mut(), &mut desk, progress),
        };
        self.counters.judge_kept += desk.n_kept;
        let known = desk.keys.iter().zip(&desk.answers);
        answers.extend(known.filter_map(|(key, answer)| Some((key.clone(), answer.clone()?))));
        asked
    }
}

/// The answers of one cell.
fn answered(
    who: &Respondent,
    questions: &[Question],
    replies: &Replies,
    answers: &BTreeMap<String, Result<Answer, PluginFailure>>,
    failure: Option<&Failure>,
) -> Result<Answers, CellError> {
    let mut desk = Desk::new(&who.identity, questions, replies)?;
    for at in desk.open() {
        desk.answers[at] = answers.get(&desk.keys[at]).cloned();
    }
    match failure.filter(|_| !desk.open().is_empty()) {
        Some(failure) => Err(CellError::Together(failure.clone())),
        None => desk.answers(),
    }
}

/// Questions put together by the judge they go to.
fn by_judge(asked: Vec<Asked>) -> Vec<(Respondent, Vec<Question>)> {
    let mut judges: Vec<(Respondent, Vec<Question>)> = Vec::new();
    for Asked { who, questions } in asked {
        match judges.iter_mut().find(|(known, _)| known.is_same(&who)) {
            Some((_, all)) => all.extend(questions),
            None => judges.push((who, questions)),
        }
    }
    judges
}
