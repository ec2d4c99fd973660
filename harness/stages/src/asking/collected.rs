//! Questions of several cells that are asked in one batch (`executor::two_pass`).

use std::collections::BTreeMap;

use harness_contract::protocol::{Counters, Failure};
use harness_engine::{
    error::CellError,
    plugin::{Answer, PluginFailure, Question},
};
use harness_store::replies::Replies;

use super::{
    Judges,
    judges::{Asked, Respondent, TwoPass},
    question_batch::QuestionBatch,
    reply::Answers,
    sweep,
};
use crate::stage::Progress;

impl Judges {
    /// From here on cells end where they ask, and what they ask is collected.
    pub(crate) fn collect_questions(&mut self) {
        self.two_pass = Some(TwoPass::Collect(Vec::new()));
    }

    /// Asks what was collected, in batches; from here on cells get the answers. Returns what they
    /// share.
    pub(crate) fn ask_collected(&mut self, progress: Progress<'_>) -> Counters {
        let asked = match self.two_pass.take() {
            Some(TwoPass::Collect(asked)) => asked,
            _ => Vec::new(),
        };
        self.counters = Counters::default();
        let (mut answers, mut failure) = (BTreeMap::new(), None);
        for (who, questions) in by_judge(asked) {
            if let Err(error) = self.ask_all(&who, &questions, &mut answers, progress) {
                failure.get_or_insert(error.failure(None));
            }
        }
        self.two_pass = Some(TwoPass::Answer { answers, failure });
        std::mem::take(&mut self.counters)
    }

    /// Each cell asks by itself again.
    pub(crate) fn forget_collected(&mut self) {
        self.two_pass = None;
    }

    /// Collects or answers the questions of a cell that is run with others; `None` for one that is
    /// run alone.
    pub(super) fn collect_or_answer(
        &mut self,
        who: &Respondent,
        questions: &[Question],
        replies: &Replies,
    ) -> Option<Result<Answers, CellError>> {
        match self.two_pass.as_mut()? {
            TwoPass::Collect(asked) => {
                asked.push(Asked {
                    who: who.clone(),
                    questions: questions.to_vec(),
                });
                Some(Err(CellError::Stopped))
            }
            TwoPass::Answer { answers, failure } => {
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
        let replies = Replies::new(&self.judging.replies);
        let mut batch = QuestionBatch::new(&who.identity, questions, &replies)?;
        batch.take_kept()?;
        let asked = match &who.judge {
            Some(judge) if !batch.open().is_empty() => {
                self.ask_in_batches(&mut judge.borrow_mut(), &mut batch, progress)
            }
            _ => sweep(&replies),
        };
        self.counters.judge_kept += batch.n_kept;
        let known = batch.keys.iter().zip(&batch.answers);
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
    let mut batch = QuestionBatch::new(&who.identity, questions, replies)?;
    for at in batch.open() {
        batch.answers[at] = answers.get(&batch.keys[at]).cloned();
    }
    match failure.filter(|_| !batch.open().is_empty()) {
        Some(failure) => Err(CellError::Together(failure.clone())),
        None => batch.answers(),
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
