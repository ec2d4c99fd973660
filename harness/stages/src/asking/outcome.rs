//! What becomes of questions.

use harness_abi::ErrorCode;
use harness_contract::outputs::Outcome;
use harness_engine::plugin::{Answer, PluginFailure};

/// The next answer of those that a judge was asked for, or what became of its question and why.
pub(crate) fn next_of(
    answers: &mut impl Iterator<Item = Result<Answer, PluginFailure>>,
    is_online: bool,
) -> Result<Answer, (Outcome, String)> {
    match answers.next() {
        Some(answer) => {
            answer.map_err(|failure| (outcome_of(&failure, is_online), failure.to_string()))
        }
        None => Err((Outcome::Failed, "the question got no answer".to_owned())),
    }
}

/// What a failed question counts as. An offline judge fails each time alike: that is its answer.
pub(crate) fn outcome_of(failure: &PluginFailure, is_online: bool) -> Outcome {
    match failure.code {
        ErrorCode::REFUSED => Outcome::Refused,
        ErrorCode::UNUSABLE => Outcome::Unparsed,
        _ if !is_online => Outcome::Failed,
        ErrorCode::FILTERED => Outcome::ContentFilter,
        ErrorCode::TOO_LONG => Outcome::TooLong,
        ErrorCode::RATE_LIMITED => Outcome::RateLimited,
        ErrorCode::NETWORK => Outcome::NoAnswer,
        _ => Outcome::Rejected,
    }
}
