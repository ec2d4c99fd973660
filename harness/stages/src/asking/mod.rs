//! Asks judges: what is kept is not asked again, what costs money is counted first, and each reply
//! is kept the moment it is there.

mod batch;
mod clock;
mod collected;
mod each;
#[cfg(test)]
pub(crate) mod for_tests;
mod judges;
mod live;
mod outcome;
pub(crate) mod prompts;
mod question_batch;
mod reply;
mod reply_writer;
mod unanswered;

pub(crate) use judges::Judges;

use std::{cell::RefCell, rc::Rc, time::Instant};

use harness_abi::ErrorCode;
use harness_contract::{
    judging::{JudgeMode, PRICES_DATED, Price, REPLAY},
    stages::JudgeRef,
};
use harness_engine::{
    error::CellError,
    plugin::{ComponentError, Judge, JudgeIdentity, PluginFailure, Question},
};
use harness_store::replies::Replies;
use serde_json::json;

use self::{
    judges::Respondent,
    question_batch::QuestionBatch,
    reply::{Answers, answer, key, request},
    unanswered::no_judge,
};
use crate::stage::Progress;

impl Judges {
    /// Who answers for a stage.
    ///
    /// # Errors
    /// A judge that no plugin offers or that is not set up.
    pub(crate) fn respondent(&mut self, judge: &JudgeRef) -> Result<Respondent, CellError> {
        if judge.component.name == REPLAY {
            let model = judge.model.clone().ok_or_else(|| {
                CellError::Config("replay was not told whose replies it gives".to_owned())
            })?;
            // Until replies say so, nothing may be compared with the paper's.
            let identity = JudgeIdentity {
                model,
                comparable_with_paper: false,
                online: false,
            };
            return Ok(Respondent {
                identity,
                judge: None,
            });
        }
        let known = self.known.iter().find(|(known, _)| known == judge);
        let shared = match known {
            Some((_, shared)) => Rc::clone(shared),
            None => {
                let config = judge
                    .model
                    .as_ref()
                    .map_or_else(|| json!({}), |model| json!({ "model": model }));
                let made = self.registry.judge(&judge.component.name, &config);
                let made = made.map_err(|error| match error {
                    ComponentError::Failed(failure) => no_judge(failure),
                    other => other.into(),
                })?;
                let shared = Rc::new(RefCell::new(made));
                self.known.push((judge.clone(), Rc::clone(&shared)));
                shared
            }
        };
        let identity = shared.borrow().identity()?;
        Ok(Respondent {
            identity,
            judge: Some(shared),
        })
    }

    /// Asks, and counts what was sent, kept and paid. A question that failed for itself is returned
    /// as such; where that was for a reason outside, the cell is open.
    ///
    /// # Errors
    /// What concerns the judge as a whole (credentials, money, model, address, the budget); a reply
    /// that replay needs and has not; replies that cannot be kept.
    pub(crate) fn ask(
        &mut self,
        who: &mut Respondent,
        questions: &[Question],
        progress: Progress<'_>,
    ) -> Result<Answers, CellError> {
        let answers = self.ask_anyone(who, questions, progress)?;
        if who.identity.online {
            self.unanswered.count(&answers)?;
        }
        Ok(answers)
    }

    fn ask_anyone(
        &mut self,
        who: &mut Respondent,
        questions: &[Question],
        progress: Progress<'_>,
    ) -> Result<Answers, CellError> {
        let replies = Replies::new(&self.judging.replies);
        if who.identity.online
            && let Some(asked) = self.collect_or_answer(who, questions, &replies)
        {
            return asked;
        }
        let Some(shared) = who.judge.clone() else {
            return self.replay(&mut who.identity, questions, &replies);
        };
        let asked = {
            let mut judge = shared.borrow_mut();
            match who.identity.online {
                true => self.ask_online(&mut judge, &who.identity, questions, &replies, progress),
                false => self.ask_offline(&mut judge, questions),
            }
        };
        let panicked = |failure: &PluginFailure| failure.code == ErrorCode::PANIC;
        let has_ended = match &asked {
            Ok(answers) => answers.iter().any(|a| a.as_ref().is_err_and(panicked)),
            Err(CellError::Plugin(failure) | CellError::NoJudge(failure)) => panicked(failure),
            Err(_) => false,
        };
        if has_ended {
            self.forget(&shared);
        }
        asked
    }

    fn ask_offline(
        &mut self,
        judge: &mut Judge,
        questions: &[Question],
    ) -> Result<Answers, CellError> {
        let answers = judge.ask(questions, self.concurrency()).map_err(no_judge)?;
        self.counters.judge_calls += questions.len() as u64;
        for answer in &answers {
            match answer {
                Ok(answer) => {
                    self.counters.judge_tokens += answer.tokens_in + answer.tokens_out;
                }
                Err(failure) if failure.code == ErrorCode::AUTH => {
                    return Err(no_judge(failure.clone()));
                }
                Err(failure) => self.count_failure(failure),
            }
        }
        Ok(answers)
    }

    fn ask_online(
        &mut self,
        judge: &mut Judge,
        identity: &JudgeIdentity,
        questions: &[Question],
        replies: &Replies,
        progress: Progress<'_>,
    ) -> Result<Answers, CellError> {
        let started = Instant::now();
        let mut batch = QuestionBatch::new(identity, questions, replies)?;
        batch.take_kept()?;
        let prepared = started.elapsed();
        if !batch.open().is_empty() {
            // What is under way in a batch is not paid for once more, whatever the mode.
            self.ask_in_batches(judge, &mut batch, progress)?;
        } else {
            sweep(replies)?;
        }
        if self.judging.mode == JudgeMode::Live && !batch.open().is_empty() {
            let asking = batch.wait_to_ask(progress)?;
            // Another worker may have asked the same in the meantime.
            batch.take_kept()?;
            self.ask_live(judge, &mut batch, &asking, prepared, progress)?;
        }
        self.counters.judge_kept += batch.n_kept;
        batch.answers()
    }

    fn concurrency(&self) -> usize {
        usize::try_from(self.judging.concurrency).unwrap_or(1)
    }

    /// What a judge's tokens cost when it is asked live; `None` where nobody knows and no cost is
    /// limited.
    ///
    /// # Errors
    /// A limit in USD without a price.
    fn price(&self, identity: &JudgeIdentity) -> Result<Option<Price>, CellError> {
        let judging = &self.judging;
        let price = judging.price.or_else(|| Price::known(&identity.model));
        if judging.budget.max_usd.is_some() && price.is_none() {
            return Err(CellError::Config(format!(
                "--max-cost needs the price of {}, and it is not on the list of {PRICES_DATED}; give it with --price-in and \
                 --price-out, USD for a million tokens",
                identity.model
            )));
        }
        Ok(price)
    }

    /// Answers from kept replies alone.
    fn replay(
        &mut self,
        identity: &mut JudgeIdentity,
        questions: &[Question],
        replies: &Replies,
    ) -> Result<Answers, CellError> {
        let mut is_comparable = !questions.is_empty();
        let mut answers = Vec::new();
        for question in questions {
            let request = request(identity, question);
            let key = key(&request)?;
            let kept = replies.get(&key)?.ok_or_else(|| {
                CellError::JudgeMissing(format!(
                    "replay has no reply of {} to request `{}` ({}, key {key}), which begins `{}`, in {}; record it by \
                     running the same bench once with the judge itself and --replies of this folder, or name the folder \
                     that has it",
                    identity.model,
                    question.id,
                    request.task,
                    request.first_words(),
                    replies.dir().display()
                ))
            })?;
            is_comparable &= kept.comparable_with_paper;
            answers.push(Ok(answer(kept)));
        }
        identity.comparable_with_paper = is_comparable;
        self.counters.judge_kept += questions.len() as u64;
        Ok(answers)
    }

    fn count_failure(&mut self, failure: &PluginFailure) {
        match failure.code {
            ErrorCode::REFUSED => self.counters.judge_refused += 1,
            ErrorCode::UNUSABLE => self.counters.judge_unusable += 1,
            ErrorCode::FILTERED => self.counters.judge_filtered += 1,
            ErrorCode::TOO_LONG => self.counters.judge_too_long += 1,
            ErrorCode::RATE_LIMITED => self.counters.judge_rate_limited += 1,
            ErrorCode::NETWORK => self.counters.judge_no_answer += 1,
            _ => self.counters.judge_failed += 1,
        }
    }
}

/// Closes batches whose replies are all kept, which a run that was killed has left open.
fn sweep(replies: &Replies) -> Result<(), CellError> {
    if replies.has_batches()
        && let Some(asking) = replies.try_asking()?
    {
        replies.sweep(&asking)?;
    }
    Ok(())
}

/// The budget does not cover the next question.
fn used_up(why: &str, replies: &Replies) -> CellError {
    CellError::JudgeBudget(format!(
        "{why}; all replies are kept in {}, and the same command with a larger budget goes on from there",
        replies.dir().display()
    ))
}
