use std::ops::ControlFlow;

use abi_stable::{
    RMut,
    sabi_trait::TD_Opaque,
    std_types::{RSlice, RVec},
};
use harness_abi::{
    AbiResult, BatchState, JudgeBox, JudgeReply, JudgeRequest, JudgeTask, Message, ReplySink,
    ReplySinkMut,
};

use super::{PluginFailure, failure::Origin};

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeIdentity {
    /// Model or method with its version.
    pub model: String,
    /// Whether results may be compared with the paper's judge.
    pub comparable_with_paper: bool,
    /// Whether answering needs the network.
    pub online: bool,
}

/// A message of a rendered prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    pub content: String,
}

#[derive(Clone, Debug)]
pub struct Question {
    /// Comes back with the answer.
    pub id: String,
    /// What is asked.
    pub task: JudgeTask,
    /// The question's data.
    pub payload: serde_json::Value,
    pub messages: Vec<Prompt>,
    /// Most tokens of an answer.
    pub max_tokens: u32,
    pub temperature: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer as the judge gave it.
    pub text: String,
    /// Tokens paid for.
    pub tokens_in: u64,
    /// Tokens paid for.
    pub tokens_out: u64,
}

/// How far a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchProgress {
    /// Whether every question has its answer or failure.
    pub is_ended: bool,
    /// Questions done, as far as the server says.
    pub done: u64,
    /// Questions in all.
    pub total: u64,
}

pub struct Judge {
    inner: JudgeBox,
    origin: Origin,
}

impl Judge {
    pub(super) fn new(inner: JudgeBox, origin: Origin) -> Self {
        Self { inner, origin }
    }

    /// Who answers.
    ///
    /// # Errors
    /// Missing configuration of an online judge.
    pub fn identity(&self) -> Result<JudgeIdentity, PluginFailure> {
        let identity = self.origin.call("identity", || self.inner.identity())?;
        Ok(JudgeIdentity {
            model: identity.model.into(),
            comparable_with_paper: identity.comparable_with_paper,
            online: identity.online,
        })
    }

    /// What the judge has learnt of its server, a line each; nothing of one that cannot say.
    pub fn learnt(&self) -> Vec<String> {
        let said = self.origin.call("learnt", || self.inner.learnt());
        said.map_or_else(
            |_| Vec::new(),
            |lines| lines.into_iter().map(String::from).collect(),
        )
    }

    /// Answers, one for each question in their order; one failed question does not fail the others.
    ///
    /// # Errors
    /// What concerns all questions; a wrong number of answers; an answer to another question.
    pub fn ask(
        &mut self,
        questions: &[Question],
        max_concurrency: usize,
    ) -> Result<Vec<Result<Answer, PluginFailure>>, PluginFailure> {
        let requests = requests(questions);
        let concurrency = u32::try_from(max_concurrency).unwrap_or(u32::MAX);
        let replies = self.origin.call("complete", || {
            self.inner
                .complete(RSlice::from_slice(&requests), concurrency)
        })?;
        if replies.len() != questions.len() {
            let message = format!(
                "{} questions got {} answers",
                questions.len(),
                replies.len()
            );
            return Err(self.origin.broken("complete", message));
        }
        questions
            .iter()
            .zip(replies)
            .map(|(question, reply)| answer(&self.origin, "complete", question, reply))
            .collect()
    }

    /// As [`Judge::ask`], but each answer is handed to `on_answer` with the index of its question
    /// the moment it is there, in any order. After [`ControlFlow::Break`] nothing further is sent
    /// or waited for.
    ///
    /// # Errors
    /// What concerns all questions; an answer to no question, to another question, or a second one;
    /// a question that got none although nobody asked to stop. What was handed over before stays.
    pub fn ask_each(
        &mut self,
        questions: &[Question],
        max_concurrency: usize,
        on_answer: &mut dyn FnMut(usize, Result<Answer, PluginFailure>) -> ControlFlow<()>,
    ) -> Result<(), PluginFailure> {
        let requests = requests(questions);
        let concurrency = u32::try_from(max_concurrency).unwrap_or(u32::MAX);
        let mut desk = Desk::new(&self.origin, EACH, questions, on_answer);
        let sink = ReplySinkMut::from_ptr(RMut::new(&mut desk), TD_Opaque);
        let inner = &mut self.inner;
        let returned = self.origin.follow(EACH, || {
            inner.complete_each(RSlice::from_slice(&requests), concurrency, sink)
        });
        desk.end(returned)?.all_answered()
    }

    /// Submits questions with different ids as a batch that the server knows by `tag`; returns its
    /// ticket.
    ///
    /// # Errors
    /// `UNSUPPORTED` from a judge without batches; what keeps the batch from being taken.
    pub fn submit(&mut self, questions: &[Question], tag: &str) -> Result<String, PluginFailure> {
        let requests = requests(questions);
        let ticket: String = (self.origin)
            .call("submit", || {
                (self.inner).submit(RSlice::from_slice(&requests), tag.into())
            })?
            .into();
        match ticket.trim().is_empty() || ticket.contains(char::is_whitespace) {
            true => Err(self
                .origin
                .broken("submit", format!("`{ticket}` is no ticket"))),
            false => Ok(ticket),
        }
    }

    /// The ticket of the batch that the server knows by `tag`.
    ///
    /// # Errors
    /// As [`Judge::submit`].
    pub fn find(&mut self, tag: &str) -> Result<Option<String>, PluginFailure> {
        let found = self.origin.call("find", || self.inner.find(tag.into()))?;
        Ok(found.into_option().map(String::from))
    }

    /// How far a batch is; once it has ended, `on_answer` gets one answer or failure for each of
    /// its questions.
    ///
    /// # Errors
    /// As [`Judge::ask_each`]; an answer to a batch that has not ended.
    pub fn poll(
        &mut self,
        ticket: &str,
        questions: &[Question],
        on_answer: &mut dyn FnMut(usize, Result<Answer, PluginFailure>) -> ControlFlow<()>,
    ) -> Result<BatchProgress, PluginFailure> {
        let requests = requests(questions);
        let mut desk = Desk::new(&self.origin, POLL, questions, on_answer);
        let sink = ReplySinkMut::from_ptr(RMut::new(&mut desk), TD_Opaque);
        let inner = &mut self.inner;
        let returned = self.origin.follow(POLL, || {
            inner.poll(ticket.into(), RSlice::from_slice(&requests), sink)
        });
        let mut progress = None;
        let returned = returned.map(|said| progress = Some(said));
        let desk = desk.end(returned)?;
        let is_ended = progress.is_some_and(|said| said.state == BatchState::ENDED);
        match is_ended {
            true => desk.all_answered()?,
            false => desk.none_answered()?,
        }
        Ok(BatchProgress {
            is_ended,
            done: progress.map_or(0, |said| said.done),
            total: progress.map_or(0, |said| said.total),
        })
    }
}

const EACH: &str = "complete_each";
const POLL: &str = "poll";

/// Where a judge puts its answers, one by one.
struct Desk<'a> {
    origin: &'a Origin,
    method: &'static str,
    questions: &'a [Question],
    is_answered: Vec<bool>,
    broken: Option<PluginFailure>,
    is_stopped: bool,
    on_answer: &'a mut dyn FnMut(usize, Result<Answer, PluginFailure>) -> ControlFlow<()>,
}

impl<'a> Desk<'a> {
    fn new(
        origin: &'a Origin,
        method: &'static str,
        questions: &'a [Question],
        on_answer: &'a mut dyn FnMut(usize, Result<Answer, PluginFailure>) -> ControlFlow<()>,
    ) -> Self {
        Self {
            origin,
            method,
            questions,
            is_answered: vec![false; questions.len()],
            broken: None,
            is_stopped: false,
            on_answer,
        }
    }

    /// What the plugin broke goes before what it returned.
    fn end(mut self, returned: AbiResult<()>) -> Result<Self, PluginFailure> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        self.origin.check(self.method, returned)?;
        Ok(self)
    }

    fn all_answered(&self) -> Result<(), PluginFailure> {
        match self.is_answered.iter().position(|is| !is) {
            Some(i) if !self.is_stopped => {
                let message = format!("question `{}` got no answer", self.questions[i].id);
                Err(self.origin.broken(self.method, message))
            }
            _ => Ok(()),
        }
    }

    fn none_answered(&self) -> Result<(), PluginFailure> {
        match self.is_answered.contains(&true) {
            true => {
                let message = "answers of a batch that has not ended".to_owned();
                Err(self.origin.broken(self.method, message))
            }
            false => Ok(()),
        }
    }
}

impl ReplySink for Desk<'_> {
    fn reply(&mut self, index: u64, reply: AbiResult<JudgeReply>) -> bool {
        if self.is_stopped || self.broken.is_some() {
            return false;
        }
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let taken = match (self.questions.get(at), self.is_answered.get_mut(at)) {
            (Some(question), Some(is_answered)) if !*is_answered => {
                *is_answered = true;
                answer(self.origin, self.method, question, reply)
            }
            _ => {
                let message = format!(
                    "an answer to question number {index} of {}, which is not there or has one",
                    self.questions.len()
                );
                Err(self.origin.broken(self.method, message))
            }
        };
        match taken {
            Ok(answer) => {
                self.is_stopped = (self.on_answer)(at, answer).is_break();
                !self.is_stopped
            }
            Err(broken) => {
                self.broken = Some(broken);
                false
            }
        }
    }
}

fn requests(questions: &[Question]) -> Vec<JudgeRequest> {
    questions
        .iter()
        .map(|question| JudgeRequest {
            id: question.id.as_str().into(),
            task: question.task,
            payload_json: question.payload.to_string().into(),
            messages: question
                .messages
                .iter()
                .map(|message| Message {
                    role: message.role.into(),
                    content: message.content.as_str().into(),
                })
                .collect::<RVec<_>>(),
            max_tokens: question.max_tokens,
            temperature: question.temperature,
        })
        .collect()
}

/// The answer to a question, or its own failure; an answer to another question is the judge's.
fn answer(
    origin: &Origin,
    method: &'static str,
    question: &Question,
    reply: AbiResult<JudgeReply>,
) -> Result<Result<Answer, PluginFailure>, PluginFailure> {
    match origin.check(method, reply) {
        Ok(reply) if reply.id == question.id.as_str() => Ok(Ok(Answer {
            text: reply.text.into(),
            tokens_in: reply.tokens_in,
            tokens_out: reply.tokens_out,
        })),
        Ok(reply) => {
            let message = format!("answer `{}` to question `{}`", reply.id, question.id);
            Err(origin.broken(method, message))
        }
        Err(failure) => Ok(Err(failure)),
    }
}
