use harness_abi::ErrorCode;
use harness_contract::outputs::Outcome;
use harness_engine::plugin::PluginFailure;

/// What a failed question counts as. An offline judge fails each time alike: that is its answer.
pub(super) fn outcome_of(failure: &PluginFailure, is_online: bool) -> Outcome {
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
