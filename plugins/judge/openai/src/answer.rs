//! The reply out of a chat completion.

use harness_sdk::{JudgeReply, JudgeRequest, Value};

use crate::{
    failure::Failure,
    json,
    said::{Said, shortened},
};

/// Tokens of one answer that are believed.
const MOST_TOKENS: u64 = u32::MAX as u64;

/// The reply in the body of a successful answer.
///
/// # Errors
/// An error that came with the status of a success; a refusal; an answer that is not the one asked
/// for.
pub fn read(body: &Value, request: &JudgeRequest) -> Result<JudgeReply, Failure> {
    let Some(choice) = body["choices"].get(0) else {
        return Err(match Said::of(body) {
            Some(said) => Failure::of_status(200, said),
            None => Failure::Connection("what came is no chat completion".to_owned()),
        });
    };
    if let Some(said) = Said::of(choice).filter(|_| choice["error"].is_object()) {
        return Err(Failure::of_status(200, said));
    }
    let message = &choice["message"];
    let refusal = message["refusal"].as_str().unwrap_or_default();
    if !refusal.trim().is_empty() || choice["finish_reason"] == "refusal" {
        return Err(Failure::Refusal(shortened(refusal)));
    }
    if choice["finish_reason"] == "content_filter" {
        return Err(Failure::Filtered);
    }
    // What a server counts is added up: no sum of these overflows.
    let used = |key| body["usage"][key].as_u64().unwrap_or(0).min(MOST_TOKENS);
    let (tokens_in, tokens_out) = (used("prompt_tokens"), used("completion_tokens"));
    match json::answer(request.task, &message["content"]) {
        Ok(answer) => Ok(JudgeReply {
            id: request.id.clone(),
            text: answer.to_string(),
            tokens_in,
            tokens_out,
        }),
        Err(reason) => Err(Failure::BadAnswer {
            reason,
            is_cut: choice["finish_reason"] == "length",
            tokens_in,
            tokens_out,
        }),
    }
}
