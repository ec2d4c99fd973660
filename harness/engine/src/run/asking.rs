//! Asks judges: what is kept is not asked again, what costs money is counted first, and each reply is kept the moment it is
//! there.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use harness_abi::ErrorCode;
use harness_plan::{
    protocol::Judging,
    replies::{
        Asking, KeptReply, PRICES_DATED, Price, REPLAY, REPLY_SCHEMA, Replies, ReplyMessage,
        ReplyRequest, Spent, Worst, task_name,
    },
    stages::JudgeRef,
};
use serde_json::json;

use super::{CellError, Progress, Session};
use crate::plugin::{Answer, Judge, JudgeIdentity, PluginFailure, Question};

/// Questions under way at once.
const CONCURRENCY: usize = 16;
/// How often the right to ask is asked for while another worker has it.
const WAIT: Duration = Duration::from_millis(500);
/// What progress counts.
const UNIT: &str = "questions";

/// Who answers the questions of a cell.
pub(super) struct Respondent {
    pub(super) identity: JudgeIdentity,
    /// `None` answers from kept replies alone.
    judge: Option<Judge>,
}

/// Answers to questions, in their order.
type Answers = Vec<Result<Answer, PluginFailure>>;

impl Session {
    /// Who answers for a stage.
    ///
    /// # Errors
    /// A judge that no plugin offers or that is not set up.
    pub(super) fn respondent(&self, judge: &JudgeRef) -> Result<Respondent, CellError> {
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
        let config = judge
            .model
            .as_ref()
            .map_or_else(|| json!({}), |model| json!({ "model": model }));
        let judge = self.registry.judge(&judge.component.name, &config)?;
        Ok(Respondent {
            identity: judge.identity()?,
            judge: Some(judge),
        })
    }

    /// Asks, and counts what was sent, kept and paid. A question that failed for itself is returned as such.
    ///
    /// # Errors
    /// What concerns the judge as a whole (credentials, quota, the budget); a reply that replay needs and has not; replies
    /// that cannot be kept; a question to a paid judge that may be answered another time, so that its cell stays open.
    pub(super) fn ask(
        &mut self,
        who: &mut Respondent,
        questions: &[Question],
        progress: Progress<'_>,
    ) -> Result<Answers, CellError> {
        let replies = Replies::new(&self.init.judging.replies);
        let Some(judge) = &mut who.judge else {
            return self.replay(&mut who.identity, questions, &replies);
        };
        if !who.identity.online {
            let answers = judge.ask(questions, CONCURRENCY)?;
            self.counters.judge_calls += questions.len() as u64;
            for answer in &answers {
                match answer {
                    Ok(answer) => {
                        self.counters.judge_tokens += answer.tokens_in + answer.tokens_out;
                    }
                    Err(failure) if failure.code == ErrorCode::AUTH => {
                        return Err(failure.clone().into());
                    }
                    Err(failure) => self.count_failure(failure),
                }
            }
            return Ok(answers);
        }
        let mut desk = Desk::new(&who.identity, questions, &replies)?;
        desk.take_kept()?;
        if !desk.open().is_empty() {
            let judging = self.init.judging.clone();
            let asking = desk.wait_to_ask(progress)?;
            // Another worker may have asked the same in the meantime.
            desk.take_kept()?;
            self.pay_for(judge, &mut desk, &judging, &asking, progress)?;
        }
        self.counters.judge_kept += desk.n_kept;
        desk.answers()
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

    /// Sends the open questions as far as the budget goes, and keeps their replies.
    fn pay_for(
        &mut self,
        judge: &mut Judge,
        desk: &mut Desk<'_>,
        judging: &Judging,
        asking: &Asking,
        progress: Progress<'_>,
    ) -> Result<(), CellError> {
        let price = judging.price.or_else(|| Price::known(&desk.identity.model));
        if judging.budget.max_usd.is_some() && price.is_none() {
            return Err(CellError::Config(format!(
                "--max-cost needs the price of {}, and it is not on the list of {PRICES_DATED}; give it with --price-in and \
                 --price-out, USD for a million tokens",
                desk.identity.model
            )));
        }
        loop {
            let open = desk.open();
            let Some(&next) = open.first() else {
                return Ok(());
            };
            let worst_usd = |at: &usize| Worst::of(&desk.requests[*at]).usd(price);
            let before = desk.replies.spent(&judging.run)?;
            let n = judging.budget.fitting(before, open.iter().map(worst_usd));
            if n == 0 {
                let why = judging.budget.exceeded(before, worst_usd(&next));
                return Err(CellError::JudgeBudget(format!(
                    "{why}; all replies are kept in {}, and the same command with a larger budget goes on from there",
                    desk.replies.dir().display()
                )));
            }
            let batch = &open[..n];
            let reserved: f64 = batch.iter().map(worst_usd).sum();
            let mut after = Spent {
                calls: before.calls + n as u64,
                usd: before.usd + reserved,
            };
            desk.replies.enter(asking, &judging.run, after)?;
            let mut paid = 0.0;
            let sent = self.send(judge, desk, batch, price, &mut paid, progress);
            // Questions that failed may have been billed all the same: they keep what was reserved for them.
            let unsettled = batch.iter().filter(|at| desk.may_be_billed(**at));
            paid += unsettled
                .map(|at| Worst::of(&desk.requests[*at]).usd(price))
                .sum::<f64>();
            after.usd = before.usd + paid;
            desk.replies.enter(asking, &judging.run, after)?;
            sent?;
        }
    }

    /// Sends questions; `paid` is what their replies cost in USD.
    fn send(
        &mut self,
        judge: &mut Judge,
        desk: &mut Desk<'_>,
        batch: &[usize],
        price: Option<Price>,
        paid: &mut f64,
        progress: Progress<'_>,
    ) -> Result<(), CellError> {
        let questions: Vec<Question> = batch.iter().map(|at| desk.questions[*at].clone()).collect();
        let total = desk.questions.len() as u64;
        let mut n_done = total - desk.open().len() as u64;
        let mut stopped = None;
        let counters = &mut self.counters;
        counters.judge_calls += batch.len() as u64;
        let asked = judge.ask_each(&questions, CONCURRENCY, &mut |i, answer| {
            let taken = desk.take(batch[i], answer, price);
            let taken = taken.and_then(|kept| {
                if let Some(kept) = kept {
                    *paid += kept.usd.unwrap_or(0.0);
                    counters.judge_usd += kept.usd.unwrap_or(0.0);
                    counters.judge_tokens += kept.tokens_in + kept.tokens_out;
                }
                n_done += 1;
                progress(n_done, total, UNIT)
            });
            match taken {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    stopped = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        for at in batch {
            if let Some(Err(failure)) = &desk.answers[*at] {
                self.count_failure(failure);
            }
        }
        if let Some(error) = stopped {
            return Err(error);
        }
        Ok(asked?)
    }

    fn count_failure(&mut self, failure: &PluginFailure) {
        match failure.code {
            ErrorCode::REFUSED => self.counters.judge_refused += 1,
            ErrorCode::UNUSABLE => self.counters.judge_unusable += 1,
            _ => self.counters.judge_failed += 1,
        }
    }
}

/// Questions to a paid judge, and what is known of their answers.
struct Desk<'a> {
    identity: &'a JudgeIdentity,
    questions: &'a [Question],
    replies: &'a Replies,
    requests: Vec<ReplyRequest>,
    keys: Vec<String>,
    /// The first question that asks the same.
    first: Vec<usize>,
    answers: Vec<Option<Result<Answer, PluginFailure>>>,
    /// Questions that were not sent: their reply was kept, or they repeat another.
    n_kept: u64,
}

impl<'a> Desk<'a> {
    fn new(
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
            questions,
            replies,
            answers: vec![None; questions.len()],
            requests,
            first,
            keys,
            n_kept: n_repeats,
        })
    }

    /// Questions without an answer, those that repeat another left out.
    fn open(&self) -> Vec<usize> {
        (0..self.questions.len())
            .filter(|&i| self.first[i] == i && self.answers[i].is_none())
            .collect()
    }

    /// Takes what is kept.
    fn take_kept(&mut self) -> Result<(), CellError> {
        for i in self.open() {
            if let Some(kept) = self.replies.get(&self.keys[i])? {
                self.answers[i] = Some(Ok(answer(kept)));
                self.n_kept += 1;
            }
        }
        Ok(())
    }

    /// Waits until no other worker, of this run or another, asks in the same folder.
    fn wait_to_ask(&self, progress: Progress<'_>) -> Result<Asking, CellError> {
        loop {
            if let Some(asking) = self.replies.try_asking()? {
                return Ok(asking);
            }
            progress(0, self.questions.len() as u64, UNIT)?;
            thread::sleep(WAIT);
        }
    }

    /// Takes an answer, and keeps it.
    fn take(
        &mut self,
        at: usize,
        answer: Result<Answer, PluginFailure>,
        price: Option<Price>,
    ) -> Result<Option<KeptReply>, CellError> {
        let kept = match &answer {
            Ok(answer) => {
                let kept = KeptReply {
                    schema: REPLY_SCHEMA,
                    request: self.requests[at].clone(),
                    text: answer.text.clone(),
                    tokens_in: answer.tokens_in,
                    tokens_out: answer.tokens_out,
                    usd: price.map(|price| price.usd(answer.tokens_in, answer.tokens_out)),
                    comparable_with_paper: self.identity.comparable_with_paper,
                    received_unix: now(),
                };
                self.replies.put(&self.keys[at], &kept)?;
                Some(kept)
            }
            Err(_) => None,
        };
        self.answers[at] = Some(answer);
        Ok(kept)
    }

    /// Whether a question that was sent has no reply and may be billed: one the server turned away is not.
    fn may_be_billed(&self, at: usize) -> bool {
        match &self.answers[at] {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(failure)) => ![
                ErrorCode::RATE_LIMITED,
                ErrorCode::INVALID_ARGUMENT,
                ErrorCode::CONFIG,
                ErrorCode::AUTH,
            ]
            .contains(&failure.code),
        }
    }

    /// One answer for each question.
    fn answers(&self) -> Result<Answers, CellError> {
        // A fault that passes, or that a person can mend, must not become a missing value for good: the cell is run again,
        // and what is kept stays.
        let passes = |failure: &PluginFailure| {
            [ErrorCode::NETWORK, ErrorCode::RATE_LIMITED, ErrorCode::AUTH].contains(&failure.code)
        };
        let mut failures = self
            .answers
            .iter()
            .flatten()
            .filter_map(|a| a.as_ref().err());
        if let Some(failure) = failures.find(|failure| passes(failure)) {
            return Err(failure.clone().into());
        }
        (self.first.iter().zip(self.questions))
            .map(|(&first, question)| {
                self.answers[first].clone().ok_or_else(|| {
                    CellError::Invalid(format!("question `{}` got no answer", question.id))
                })
            })
            .collect()
    }
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
