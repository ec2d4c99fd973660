use abi_stable::std_types::{RResult, RSlice, RVec};
use harness_abi::{self as abi, AbiResult, JudgeBox, JudgeTask};

use crate::{Error, Result, Value, bridge::Bridge};

/// One message of a rendered prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// One question. An offline judge reads `payload`, an LLM reads `messages`.
#[derive(Clone, Debug)]
pub struct JudgeRequest {
    /// Returned with the reply.
    pub id: String,
    /// What is asked.
    pub task: JudgeTask,
    /// The question's data; see [`JudgeTask`].
    pub payload: Value,
    /// The question as a prompt.
    pub messages: Vec<Message>,
    /// Most tokens of an answer.
    pub max_tokens: u32,
    /// Sampling temperature.
    pub temperature: f64,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeReply {
    /// The request's id.
    pub id: String,
    /// The answer: JSON as the task says.
    pub text: String,
    /// Tokens paid for, 0 offline.
    pub tokens_in: u64,
    /// Tokens paid for, 0 offline.
    pub tokens_out: u64,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeIdentity {
    /// Model or method with its version, e.g. `lexical-1`.
    pub model: String,
    /// Whether results may be compared with the paper's judge.
    pub comparable_with_paper: bool,
    /// Whether answering needs the network.
    pub online: bool,
}

/// Answers questions about texts.
pub trait Judge: Send + 'static {
    /// A component of this name with its configuration.
    ///
    /// # Errors
    /// A configuration it does not understand.
    fn new(name: &str, config: &Value) -> Result<Self>
    where
        Self: Sized;

    /// Who answers: part of every cached reply's key.
    ///
    /// # Errors
    /// Missing configuration of an online judge.
    fn identity(&self) -> Result<JudgeIdentity>;

    /// Answers every request, in order; a failed one does not fail the others.
    ///
    /// # Errors
    /// Only what concerns all of them, such as wrong credentials.
    fn complete(
        &mut self,
        requests: &[JudgeRequest],
        max_concurrency: usize,
    ) -> Result<Vec<Result<JudgeReply>>>;
}

/// Wraps an author's judge for the boundary.
pub fn boxed<T: Judge>(name: &str, config: &Value) -> Result<JudgeBox> {
    let bridge = Bridge::new(name, Box::new(T::new(name, config)?));
    Ok(JudgeBox::from_value(
        bridge,
        abi_stable::sabi_trait::TD_Opaque,
    ))
}

impl<T: Judge> abi::Judge for Bridge<T> {
    fn identity(&self) -> AbiResult<abi::JudgeIdentity> {
        self.with("identity", |judge| {
            let identity = judge.identity()?;
            Ok(abi::JudgeIdentity {
                model: identity.model.into(),
                comparable_with_paper: identity.comparable_with_paper,
                online: identity.online,
            })
        })
    }

    fn complete(
        &mut self,
        requests: RSlice<'_, abi::JudgeRequest>,
        max_concurrency: u32,
    ) -> AbiResult<RVec<AbiResult<abi::JudgeReply>>> {
        self.with_mut("complete", |judge| {
            let requests = requests.iter().map(request).collect::<Result<Vec<_>>>()?;
            let replies = judge.complete(&requests, usize::try_from(max_concurrency)?)?;
            if replies.len() != requests.len() {
                return Err(Error::invalid(format!(
                    "{} requests got {} replies",
                    requests.len(),
                    replies.len()
                )));
            }
            Ok(replies.into_iter().map(reply).collect())
        })
    }
}

fn request(raw: &abi::JudgeRequest) -> Result<JudgeRequest> {
    Ok(JudgeRequest {
        id: raw.id.to_string(),
        task: raw.task,
        payload: serde_json::from_str(&raw.payload_json)?,
        messages: raw
            .messages
            .iter()
            .map(|message| Message {
                role: message.role.to_string(),
                content: message.content.to_string(),
            })
            .collect(),
        max_tokens: raw.max_tokens,
        temperature: raw.temperature,
    })
}

fn reply(reply: Result<JudgeReply>) -> AbiResult<abi::JudgeReply> {
    match reply {
        Ok(reply) => RResult::ROk(abi::JudgeReply {
            id: reply.id.into(),
            text: reply.text.into(),
            tokens_in: reply.tokens_in,
            tokens_out: reply.tokens_out,
        }),
        Err(error) => RResult::RErr(error.into_abi()),
    }
}
