//! Questions to an online judge that has only kept replies.

use harness_abi::JudgeTask;
use harness_engine::plugin::{JudgeIdentity, Question};
use harness_store::replies::{KeptReply, REPLY_SCHEMA, Replies};
use serde_json::json;

use super::{
    Judges,
    judges::Respondent,
    reply::{key, request},
};

pub(crate) fn respondent() -> Respondent {
    Respondent {
        identity: JudgeIdentity {
            model: "made-up".to_owned(),
            comparable_with_paper: false,
            online: true,
        },
        judge: None,
    }
}

pub(crate) fn question(number: u64) -> Question {
    Question {
        id: format!("question-{number}"),
        task: JudgeTask::EXPLAIN,
        payload: json!({}),
        messages: Vec::new(),
        max_tokens: u32::try_from(number).unwrap(),
        temperature: 0.0,
    }
}

/// Keeps the reply to a question where the judges look for it.
pub(crate) fn keep_reply(judges: &Judges, question: &Question, text: &str) {
    let request = request(&respondent().identity, question);
    let reply = KeptReply {
        schema: REPLY_SCHEMA,
        text: text.to_owned(),
        tokens_in: 1,
        tokens_out: 1,
        usd: None,
        comparable_with_paper: false,
        received_unix: 0,
        request,
    };
    let key = key(&reply.request).unwrap();
    Replies::new(&judges.judging.replies)
        .put(&key, &reply)
        .unwrap();
}
