//! Questions in batches that are answered later, at half the price.
//!
//! A batch is written down before it is submitted, under a tag that the server gets too, and its
//! ticket after. Whoever needs one of its questions waits for it, in this process or the next, so
//! that nothing is submitted twice; whoever sees its end keeps all its replies. The right to ask is
//! held while batches are submitted or closed and not while they are waited for.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    thread,
    time::{Duration, Instant},
};

use harness_abi::{ErrorCode, JudgeTask};
use harness_contract::judging::{JudgeMode, Price};
use harness_engine::{
    error::CellError,
    plugin::{Answer, Judge, PluginFailure, Prompt, Question},
};
use harness_store::replies::{
    Asking, BATCH_SCHEMA, Batch, ReplyRequest, Worst, batches_of, task_number,
};
use serde_json::json;

use super::{
    Judges,
    question_batch::QuestionBatch,
    reply::{key, now},
    reply_writer::ReplyWriter,
    unanswered::no_judge,
    used_up,
};
use crate::stage::Progress;

/// What progress counts.
const UNIT: &str = "questions of batches";
/// First and longest time between two looks at a batch.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often it is said that a batch is waited for.
const SAY: Duration = Duration::from_millis(500);
/// Looks that may fail one after the other; the judge has tried several times in each.
const FAILED_LOOKS: u32 = 5;
/// Seconds after which a batch that its process did not live to keep the ticket of is known to the
/// server, or never will be.
const SETTLED_S: u64 = 5;

/// A batch that the server has.
struct UnderWay {
    batch: Batch,
    ticket: String,
}

impl Judges {
    /// Waits for batches with open questions; in the mode of batches, submits what is in none
    /// first.
    pub(super) fn ask_in_batches(
        &mut self,
        judge: &mut Judge,
        questions: &mut QuestionBatch<'_>,
        progress: Progress<'_>,
    ) -> Result<(), CellError> {
        let asked = self.ask_in_rounds(judge, questions, progress);
        for failure in questions.failures() {
            self.count_failure(failure);
        }
        asked
    }

    /// Batches after batches, while something is open that is worth asking at once.
    fn ask_in_rounds(
        &mut self,
        judge: &mut Judge,
        questions: &mut QuestionBatch<'_>,
        progress: Progress<'_>,
    ) -> Result<(), CellError> {
        let is_live = self.judging.mode == JudgeMode::Live;
        loop {
            let asking = questions.wait_to_ask(progress)?;
            questions.take_kept()?;
            questions.replies.sweep(&asking)?;
            if questions.open().is_empty() {
                return Ok(());
            }
            let n_learnt = judge.learnt().len();
            let mut under_way = self.joined(judge, questions, &asking, progress)?;
            if is_live && under_way.is_empty() {
                return Ok(());
            }
            let mut stopped = None;
            if !is_live {
                stopped = self.submit(judge, questions, &asking, &mut under_way).err();
            }
            drop(asking);
            // What is under way is paid for, so it is waited for even when nothing more can be
            // submitted.
            for batch in &under_way {
                self.wait_for(judge, batch, questions, progress)?;
            }
            if let Some(error) = stopped {
                return Err(error);
            }
            if judge.learnt().len() > n_learnt {
                // Lines were refused for a field that is no longer sent.
                questions.reopen();
            }
        }
    }

    /// Batches of others, or of an earlier process, that have open questions.
    fn joined(
        &mut self,
        judge: &mut Judge,
        questions: &QuestionBatch<'_>,
        asking: &Asking,
        progress: Progress<'_>,
    ) -> Result<Vec<UnderWay>, CellError> {
        let open: Vec<&str> = questions
            .open()
            .iter()
            .map(|at| questions.keys[*at].as_str())
            .collect();
        let mut joined = Vec::new();
        for batch in questions.replies.batches()? {
            let keys = batch
                .requests
                .iter()
                .map(key)
                .collect::<Result<Vec<_>, _>>()?;
            if !keys.iter().any(|key| open.contains(&key.as_str())) {
                continue;
            }
            let ticket = match questions.replies.ticket(&batch.tag)? {
                Some(ticket) => Some(ticket),
                // Whoever announced it has died: it would hold the right to ask otherwise.
                None => found(judge, &batch, progress)?,
            };
            match ticket {
                Some(ticket) => {
                    questions.replies.keep_ticket(&batch.tag, &ticket)?;
                    joined.push(UnderWay { batch, ticket });
                }
                None => questions.replies.withdraw(asking, &batch)?,
            }
        }
        Ok(joined)
    }

    /// Submits the open questions that are in no batch, as far as the budget goes.
    fn submit(
        &mut self,
        judge: &mut Judge,
        questions: &QuestionBatch<'_>,
        asking: &Asking,
        under_way: &mut Vec<UnderWay>,
    ) -> Result<(), CellError> {
        let price = self.price(questions.identity)?.map(Price::in_batch);
        let mut in_batches = Vec::new();
        for one in under_way.iter() {
            for request in &one.batch.requests {
                in_batches.push(key(request)?);
            }
        }
        let requests: Vec<ReplyRequest> = (questions.open().iter())
            .filter(|at| !in_batches.contains(&questions.keys[**at]))
            .map(|at| questions.requests[*at].clone())
            .collect();
        if requests.is_empty() {
            return Ok(());
        }
        let judging = self.judging.clone();
        let worst_usd = |request: &ReplyRequest| Worst::in_batch(request).usd(price);
        let before = questions.replies.spent(&judging.run)?;
        let n = (judging.budget).fitting(before, requests.iter().map(worst_usd));
        let (fitting, rest) = requests.split_at(n);
        for range in batches_of(fitting) {
            let batch = Batch {
                schema: BATCH_SCHEMA,
                tag: tag(&judging.run, under_way.len()),
                run: judging.run.clone(),
                price,
                created_unix: now(),
                requests: fitting[range].to_vec(),
            };
            questions.replies.announce(asking, &batch)?;
            let ticket = match judge.submit(&questions_of(&batch)?, &batch.tag) {
                Ok(ticket) => ticket,
                Err(failure) => return Err(self.not_taken(questions, asking, &batch, failure)),
            };
            questions.replies.keep_ticket(&batch.tag, &ticket)?;
            self.counters.judge_calls += batch.requests.len() as u64;
            under_way.push(UnderWay { batch, ticket });
        }
        match rest.first() {
            None => Ok(()),
            Some(next) => {
                let spent = questions.replies.spent(&judging.run)?;
                let why = judging.budget.exceeded(spent, worst_usd(next));
                Err(used_up(&why, questions.replies))
            }
        }
    }

    /// A batch that could not be submitted. Unless the server has said no, it may have come there:
    /// then it stays announced, and is looked for by its tag.
    fn not_taken(
        &self,
        questions: &QuestionBatch<'_>,
        asking: &Asking,
        batch: &Batch,
        failure: PluginFailure,
    ) -> CellError {
        let has_said_no = [
            ErrorCode::AUTH,
            ErrorCode::CONFIG,
            ErrorCode::INVALID_ARGUMENT,
            ErrorCode::RATE_LIMITED,
            ErrorCode::UNSUPPORTED,
        ]
        .contains(&failure.code);
        if has_said_no && let Err(error) = questions.replies.withdraw(asking, batch) {
            return error.into();
        }
        match failure.code {
            ErrorCode::UNSUPPORTED => CellError::Config(format!(
                "the judge {} has no batches ({failure}); ask it with --judge-mode live",
                questions.identity.model
            )),
            _ => no_judge(failure),
        }
    }

    /// Waits for the end of a batch, keeps its replies and closes it.
    fn wait_for(
        &mut self,
        judge: &mut Judge,
        under_way: &UnderWay,
        questions: &mut QuestionBatch<'_>,
        progress: Progress<'_>,
    ) -> Result<(), CellError> {
        let UnderWay { batch, ticket } = under_way;
        let sent = questions_of(batch)?;
        let mut wait = FIRST_WAIT;
        let mut failed = 0;
        loop {
            if !questions.replies.is_open(&batch.tag) {
                // Another process has closed it: its replies are kept.
                return Ok(());
            }
            let mut answers = Vec::new();
            let looked = judge.poll(ticket, &sent, &mut |i, answer| {
                answers.push((i, answer));
                ControlFlow::Continue(())
            });
            match looked {
                Ok(progress_of_batch) if progress_of_batch.is_ended => {
                    return self.keep_replies(batch, answers, questions, progress);
                }
                Ok(so_far) => {
                    failed = 0;
                    pause(wait, so_far.done, so_far.total, progress)?;
                }
                Err(failure) => {
                    let may_pass =
                        [ErrorCode::NETWORK, ErrorCode::RATE_LIMITED].contains(&failure.code);
                    failed += 1;
                    if failure.code == ErrorCode::CONFIG {
                        return Err(CellError::Config(format!(
                            "{failure}; its questions are in {}: without that file they are asked anew, and paid for anew",
                            questions.replies.batch_path(&batch.tag).display()
                        )));
                    }
                    if !may_pass || failed >= FAILED_LOOKS {
                        return Err(no_judge(failure));
                    }
                    pause(wait, 0, sent.len() as u64, progress)?;
                }
            }
            wait = wait.mul_f64(1.5).min(LONGEST_WAIT);
        }
    }

    /// Keeps the replies of a batch that has ended, those to the questions of others included, and
    /// closes it.
    fn keep_replies(
        &mut self,
        batch: &Batch,
        answers: Vec<(usize, Result<Answer, PluginFailure>)>,
        questions: &mut QuestionBatch<'_>,
        progress: Progress<'_>,
    ) -> Result<(), CellError> {
        let asking = questions.wait_to_ask(progress)?;
        if !questions.replies.is_open(&batch.tag) {
            return Ok(());
        }
        let own: BTreeMap<&str, usize> = questions
            .open()
            .into_iter()
            .map(|at| (questions.keys[at].as_str(), at))
            .collect();
        let keys = batch
            .requests
            .iter()
            .map(key)
            .collect::<Result<Vec<_>, _>>()?;
        let at: Vec<Option<usize>> = keys
            .iter()
            .map(|key| own.get(key.as_str()).copied())
            .collect();
        let mut writer = ReplyWriter::open(
            questions.replies,
            questions.identity,
            batch.price,
            answers.len(),
        );
        let mut unsettled = 0.0;
        for (i, answer) in answers {
            match answer {
                Ok(answer) => writer.put(i, &keys[i], &batch.requests[i], answer)?,
                Err(failure) => {
                    // What was answered is billed, usable or not; its tokens are not told.
                    let answered = [ErrorCode::REFUSED, ErrorCode::UNUSABLE, ErrorCode::FILTERED];
                    if answered.contains(&failure.code) {
                        unsettled += Worst::in_batch(&batch.requests[i]).usd(batch.price);
                    }
                    if let Some(at) = at[i] {
                        questions.answers[at] = Some(Err(failure));
                    }
                }
            }
        }
        let (kept, paid) = writer.close(&mut self.counters)?;
        for (i, answer) in kept {
            if let Some(at) = at[i] {
                questions.answers[at] = Some(Ok(answer));
            }
        }
        Ok(questions.replies.close(&asking, batch, paid + unsettled)?)
    }
}

/// The ticket of a batch that was announced by a process that has died; `None` where the server
/// never got it.
fn found(
    judge: &mut Judge,
    batch: &Batch,
    progress: Progress<'_>,
) -> Result<Option<String>, CellError> {
    loop {
        if let Some(ticket) = judge.find(&batch.tag).map_err(no_judge)? {
            return Ok(Some(ticket));
        }
        let age = now().saturating_sub(batch.created_unix);
        if age > SETTLED_S {
            return Ok(None);
        }
        // What its process sent last may be on its way.
        pause(
            Duration::from_millis(500),
            0,
            batch.requests.len() as u64,
            progress,
        )?;
    }
}

/// Waits, and says so.
fn pause(wait: Duration, done: u64, total: u64, progress: Progress<'_>) -> Result<(), CellError> {
    let until = Instant::now() + wait;
    loop {
        progress(done, total, UNIT)?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(SAY));
    }
}

/// The questions of a batch, each under its key.
fn questions_of(batch: &Batch) -> Result<Vec<Question>, CellError> {
    let role = |role: &str| match role {
        "system" => "system",
        "assistant" => "assistant",
        _ => "user",
    };
    (batch.requests.iter())
        .map(|request| {
            let task = task_number(&request.task).ok_or_else(|| {
                CellError::Invalid(format!("`{}` is no task of a judge", request.task))
            })?;
            Ok(Question {
                id: key(request)?,
                task: JudgeTask(task),
                payload: json!({}),
                messages: (request.messages.iter())
                    .map(|message| Prompt {
                        role: role(&message.role),
                        content: message.content.clone(),
                    })
                    .collect(),
                max_tokens: request.max_tokens,
                temperature: request.temperature,
            })
        })
        .collect()
}

/// A name that no other batch has: the run's, the moment and the place in it.
fn tag(run: &str, number: usize) -> String {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_nanos());
    format!("{run}-{nanos:x}-{}-{number}", std::process::id())
}
