//! Questions to a paid judge, and what is known of their answers.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use harness_abi::ErrorCode;
use harness_engine::{
    error::CellError,
    plugin::{Answer, JudgeIdentity, PluginFailure, Question},
};
use harness_store::replies::{Asking, Replies, ReplyRequest};

use super::reply::{Answers, UNIT, answer, key, request};
use crate::stage::Progress;

/// How often the right to ask is asked for while another worker has it.
const WAIT: Duration = Duration::from_millis(20);
/// How often it is said that this one is waiting.
const SAY: Duration = Duration::from_millis(500);

/// Questions to a paid judge, and what is known of their answers.
pub(super) struct QuestionBatch<'a> {
    pub(super) identity: &'a JudgeIdentity,
    pub(super) all: &'a [Question],
    pub(super) replies: &'a Replies,
    pub(super) requests: Vec<ReplyRequest>,
    pub(super) keys: Vec<String>,
    /// The first question that asks the same.
    first: Vec<usize>,
    pub(super) answers: Vec<Option<Result<Answer, PluginFailure>>>,
    /// Questions that were not sent: their reply was kept, or they repeat another.
    pub(super) n_kept: u64,
}

impl<'a> QuestionBatch<'a> {
    pub(super) fn new(
        identity: &'a JudgeIdentity,
        questions: &'a [Question],
        replies: &'a Replies,
    ) -> Result<Self, CellError> {
        let requests: Vec<ReplyRequest> = questions
            .iter()
            .map(|question| request(identity, question))
            .collect();
        let keys = requests.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let mut of_key = BTreeMap::new();
        let first: Vec<usize> = (keys.iter().enumerate())
            .map(|(i, key)| *of_key.entry(key.as_str()).or_insert(i))
            .collect();
        let n_repeats = (0..first.len()).filter(|&i| first[i] != i).count() as u64;
        Ok(Self {
            identity,
            all: questions,
            replies,
            answers: vec![None; questions.len()],
            requests,
            first,
            keys,
            n_kept: n_repeats,
        })
    }

    /// Questions without an answer, those that repeat another left out.
    pub(super) fn open(&self) -> Vec<usize> {
        (0..self.all.len())
            .filter(|&i| self.first[i] == i && self.answers[i].is_none())
            .collect()
    }

    /// Takes what is kept.
    pub(super) fn take_kept(&mut self) -> Result<(), CellError> {
        for i in self.open() {
            if let Some(kept) = self.replies.get(&self.keys[i])? {
                self.answers[i] = Some(Ok(answer(kept)));
                self.n_kept += 1;
            }
        }
        Ok(())
    }

    /// Waits until no other worker, of this run or another, asks in the same folder.
    pub(super) fn wait_to_ask(&self, progress: Progress<'_>) -> Result<Asking, CellError> {
        let mut said = None;
        loop {
            if let Some(asking) = self.replies.try_asking()? {
                return Ok(asking);
            }
            if said.is_none_or(|at: Instant| at.elapsed() >= SAY) {
                progress(0, self.all.len() as u64, UNIT)?;
                said = Some(Instant::now());
            }
            thread::sleep(WAIT);
        }
    }

    /// Whether a question that was sent has no reply and may be billed: one the server turned away
    /// is not.
    pub(super) fn may_be_billed(&self, at: usize) -> bool {
        match &self.answers[at] {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(failure)) => ![
                ErrorCode::RATE_LIMITED,
                ErrorCode::INVALID_ARGUMENT,
                ErrorCode::CONFIG,
                ErrorCode::AUTH,
                ErrorCode::TOO_LONG,
            ]
            .contains(&failure.code),
        }
    }

    /// Has the questions asked again that a fault of the network left without an answer.
    pub(super) fn reopen(&mut self) {
        for answer in &mut self.answers {
            if let Some(Err(failure)) = answer
                && failure.code == ErrorCode::NETWORK
            {
                *answer = None;
            }
        }
    }

    /// Failures of questions so far.
    pub(super) fn failures(&self) -> impl Iterator<Item = &PluginFailure> {
        let answers = self.answers.iter().flatten();
        answers.filter_map(|answer| answer.as_ref().err())
    }

    /// One answer for each question.
    pub(super) fn answers(&self) -> Result<Answers, CellError> {
        (self.first.iter().zip(self.all))
            .map(|(&first, question)| {
                self.answers[first].clone().ok_or_else(|| {
                    CellError::Invalid(format!("question `{}` got no answer", question.id))
                })
            })
            .collect()
    }
}
