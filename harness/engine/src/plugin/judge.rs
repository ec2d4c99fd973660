use abi_stable::std_types::{RSlice, RVec};
use harness_abi::{JudgeBox, JudgeRequest, JudgeTask, Message};

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
    /// Its text.
    pub content: String,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Question {
    /// Comes back with the answer.
    pub id: String,
    /// What is asked.
    pub task: JudgeTask,
    /// The question's data.
    pub payload: serde_json::Value,
    /// The question as a prompt.
    pub messages: Vec<Prompt>,
    /// Most tokens of an answer.
    pub max_tokens: u32,
    /// Sampling temperature.
    pub temperature: f64,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer as the judge gave it.
    pub text: String,
    /// Tokens paid for.
    pub tokens_in: u64,
    /// Tokens paid for.
    pub tokens_out: u64,
}

/// A judge.
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
        let identity = self.origin.check("identity", self.inner.identity())?;
        Ok(JudgeIdentity {
            model: identity.model.into(),
            comparable_with_paper: identity.comparable_with_paper,
            online: identity.online,
        })
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
        let requests: Vec<JudgeRequest> = questions
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
            .collect();
        let concurrency = u32::try_from(max_concurrency).unwrap_or(u32::MAX);
        let replies = self
            .inner
            .complete(RSlice::from_slice(&requests), concurrency);
        let replies = self.origin.check("complete", replies)?;
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
            .map(
                |(question, reply)| match self.origin.check("complete", reply) {
                    Ok(reply) if reply.id == question.id.as_str() => Ok(Ok(Answer {
                        text: reply.text.into(),
                        tokens_in: reply.tokens_in,
                        tokens_out: reply.tokens_out,
                    })),
                    Ok(reply) => {
                        let message =
                            format!("answer `{}` to question `{}`", reply.id, question.id);
                        Err(self.origin.broken("complete", message))
                    }
                    Err(failure) => Ok(Err(failure)),
                },
            )
            .collect()
    }
}
