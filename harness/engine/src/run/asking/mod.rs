//! Asks judges: what is kept is not asked again, what costs money is counted first, and each reply is kept the moment it is
//! there.

mod batch;
mod clock;
mod desk;
mod joint;
mod live;
mod unanswered;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    rc::Rc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use harness_abi::ErrorCode;
use harness_contract::{
    judging::{JudgeMode, PRICES_DATED, Price, REPLAY},
    stages::JudgeRef,
};
use harness_store::replies::{KeptReply, Replies, ReplyMessage, ReplyRequest, task_name};
use serde_json::json;

use super::{CellError, Progress, Session};
use crate::plugin::{Answer, ComponentError, Judge, JudgeIdentity, PluginFailure, Question};
use desk::Desk;
pub(super) use joint::Joint;
pub(super) use unanswered::Unanswered;
use unanswered::no_judge;

/// What progress counts.
const UNIT: &str = "questions";

/// Judges that were asked before: what they have learnt of their server's pace holds for the next cell.
#[derive(Default)]
pub(super) struct Judges {
    known: Vec<(JudgeRef, Shared)>,
    /// What they have learnt of their servers and was told.
    told: BTreeSet<String>,
}

/// A judge that cells ask one after the other.
type Shared = Rc<RefCell<Judge>>;

impl Judges {
    /// What they have learnt since the last call.
    pub(super) fn take_learnt(&mut self) -> Vec<String> {
        let learnt: Vec<String> = (self.known.iter())
            .flat_map(|(_, judge)| judge.borrow().learnt())
            .collect();
        let told = &mut self.told;
        let is_new = |line: &String| told.insert(line.clone());
        learnt.into_iter().filter(is_new).collect()
    }

    /// After a panic an instance is not used again.
    fn forget(&mut self, judge: &Shared) {
        self.known.retain(|(_, known)| !Rc::ptr_eq(known, judge));
    }
}

/// Who answers the questions of a cell.
#[derive(Clone)]
pub(super) struct Respondent {
    pub(super) identity: JudgeIdentity,
    /// `None` answers from kept replies alone.
    judge: Option<Shared>,
}

impl Respondent {
    /// Whether both are one instance of a judge.
    fn is_same(&self, other: &Respondent) -> bool {
        match (&self.judge, &other.judge) {
            (Some(a), Some(b)) => Rc::ptr_eq(a, b),
            (None, None) => self.identity == other.identity,
            _ => false,
        }
    }
}

/// Answers to questions, in their order.
type Answers = Vec<Result<Answer, PluginFailure>>;

impl Session {
    /// Who answers for a stage.
    ///
    /// # Errors
    /// A judge that no plugin offers or that is not set up.
    pub(super) fn respondent(&mut self, judge: &JudgeRef) -> Result<Respondent, CellError> {
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
        let known = self.judges.known.iter().find(|(known, _)| known == judge);
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
                self.judges.known.push((judge.clone(), Rc::clone(&shared)));
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
    pub(super) fn ask(
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
        let replies = Replies::new(&self.init.judging.replies);
        let Some(shared) = who.judge.clone() else {
            return self.replay(&mut who.identity, questions, &replies);
        };
        if who.identity.online
            && let Some(asked) = self.jointly(who, questions, &replies)
        {
            return asked;
        }
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
            self.judges.forget(&shared);
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
        let mut desk = Desk::new(identity, questions, replies)?;
        desk.take_kept()?;
        let prepared = started.elapsed();
        if !desk.open().is_empty() {
            // What is under way in a batch is not paid for once more, whatever the mode.
            self.ask_in_batches(judge, &mut desk, progress)?;
        } else {
            sweep(replies)?;
        }
        if self.init.judging.mode == JudgeMode::Live && !desk.open().is_empty() {
            let asking = desk.wait_to_ask(progress)?;
            // Another worker may have asked the same in the meantime.
            desk.take_kept()?;
            self.ask_live(judge, &mut desk, &asking, prepared, progress)?;
        }
        self.counters.judge_kept += desk.n_kept;
        desk.answers()
    }

    fn concurrency(&self) -> usize {
        usize::try_from(self.init.judging.concurrency).unwrap_or(1)
    }

    /// What a judge's tokens cost when it is asked live; `None` where nobody knows and no cost is limited.
    ///
    /// # Errors
    /// A limit in USD without a price.
    fn price(&self, identity: &JudgeIdentity) -> Result<Option<Price>, CellError> {
        let judging = &self.init.judging;
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

fn request(identity: &JudgeIdentity, question: &Question) -> ReplyRequest {
    ReplyRequest {
        judge: identity.model.clone(),
        task: task_name(question.task.0),
        messages: question
            .messages
            .iter()
            .map(|message| ReplyMessage {
                role: message.role.to_owned(),
                content: message.content.clone(),
            })
            .collect(),
        max_tokens: question.max_tokens,
        temperature: question.temperature,
    }
}

fn key(request: &ReplyRequest) -> Result<String, CellError> {
    request
        .key()
        .map_err(|error| CellError::Invalid(format!("a question has no JSON form: {error}")))
}

fn answer(kept: KeptReply) -> Answer {
    Answer {
        text: kept.text,
        tokens_in: kept.tokens_in,
        tokens_out: kept.tokens_out,
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}
