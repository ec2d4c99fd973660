//! Questions and answers in the form in which replies are kept.

use std::time::{SystemTime, UNIX_EPOCH};

use harness_engine::{
    error::CellError,
    plugin::{Answer, JudgeIdentity, PluginFailure, Question},
};
use harness_store::replies::{KeptReply, ReplyMessage, ReplyRequest, task_name};

/// What progress counts.
pub(super) const UNIT: &str = "questions";

/// Answers to questions, in their order.
pub(crate) type Answers = Vec<Result<Answer, PluginFailure>>;

pub(super) fn request(identity: &JudgeIdentity, question: &Question) -> ReplyRequest {
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

pub(super) fn key(request: &ReplyRequest) -> Result<String, CellError> {
    request
        .key()
        .map_err(|error| CellError::Invalid(format!("a question has no JSON form: {error}")))
}

pub(super) fn answer(kept: KeptReply) -> Answer {
    Answer {
        text: kept.text,
        tokens_in: kept.tokens_in,
        tokens_out: kept.tokens_out,
    }
}

pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}
