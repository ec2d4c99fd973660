//! What an error answer means: whose fault it is decides what follows.
//!
//! What concerns every question ends the run, what concerns one leaves its value open. Servers use
//! the same status for both, so that words decide where the status does not. An error that says
//! neither is [`Cause::Unclear`]: it is taken to concern one question when others get answers, and
//! all when a second question meets it before any has been answered.

use crate::said::Said;

/// Why a server did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Key, permission, money: every question.
    Account,
    /// It has no such model: every question.
    Model,
    /// Nothing of this interface is at the address: every question.
    Address,
    /// A field that every question carries: every question.
    Parameter,
    /// A filter of content turned the question away: this question.
    Filter,
    /// The question is longer than the model or the server takes: this question.
    TooLong,
    /// Too many requests: it may pass.
    Limit,
    /// The server's own trouble: it may pass.
    Fault,
    /// A client error that says nothing of these.
    Unclear,
}

const FILTER: [&str; 14] = [
    "content_filter",
    "content filter",
    "content_policy",
    "content policy",
    "content management policy",
    "responsibleaipolicy",
    "moderation",
    "flagged",
    "safety system",
    "safety_error",
    "inappropriate content",
    "data_inspection_failed",
    "sensitive content",
    "sensitive words",
];
const TOO_LONG: [&str; 16] = [
    "context_length",
    "context length",
    "context window",
    "context size",
    "maximum context",
    "string_above_max_length",
    "string too long",
    "request_too_large",
    "request too large",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "input too long",
    "input token count",
    "reduce the length",
    "maximum number of tokens",
];
/// Words of an account that is out of money or locked, whatever the status.
const MONEY: [&str; 8] = [
    "insufficient_quota",
    "insufficient quota",
    "insufficient balance",
    "insufficient credit",
    "insufficient funds",
    "credit balance",
    "billing_hard_limit",
    "billing_not_active",
];
/// Words of an account that say so only where no rate limit is meant: those advertise payment, too.
const ACCOUNT: [&str; 10] = [
    "api key",
    "api_key",
    "apikey",
    "billing",
    "payment",
    "quota",
    "unauthorized",
    "authentication",
    "permission",
    "account",
];
const LIMIT: [&str; 4] = ["rate limit", "rate_limit", "ratelimit", "too many requests"];
const FAULT: [&str; 6] = [
    "overloaded",
    "server error",
    "server_error",
    "unavailable",
    "timeout",
    "timed out",
];
const NO_MODEL: [&str; 8] = [
    "not found",
    "not_found",
    "not exist",
    "unknown",
    "no such",
    "invalid model",
    "not available",
    "not supported",
];
/// Fields that hold the question itself.
const QUESTION: [&str; 5] = ["messages", "prompt", "input", "content", "contents"];

/// What an answer with a status and these words means. A status of 200 counts for nothing: gateways
/// send it with errors.
pub fn cause(status: u16, said: &Said) -> Cause {
    let status = match status {
        200..=299 => said.status.unwrap_or(0),
        status => status,
    };
    let words = said.words();
    let says = |list: &[&str]| list.iter().any(|word| words.contains(word));
    let is_limit = status == 429 || status == 0 && says(&LIMIT);
    match status {
        401 | 402 | 407 => return Cause::Account,
        300..=399 | 405 => return Cause::Address,
        413 | 414 => return Cause::TooLong,
        _ if says(&MONEY) => return Cause::Account,
        _ if says(&TOO_LONG) => return Cause::TooLong,
        _ if is_limit => return Cause::Limit,
        408 | 409 | 425 | 500..=599 => return Cause::Fault,
        _ if says(&FILTER) && !words.contains("account") => return Cause::Filter,
        403 => return Cause::Account,
        _ => {}
    }
    let names_model = words.contains("model") && says(&NO_MODEL);
    let field = said.fields.split_whitespace().next();
    match (status, field) {
        (_, Some("model")) => Cause::Model,
        (_, Some(field)) if !QUESTION.contains(&field) => Cause::Parameter,
        (404 | 410, _) if said.is_page || !words.contains("model") => Cause::Address,
        (404 | 410, _) => Cause::Model,
        _ if names_model => Cause::Model,
        (0, _) if said.is_page => Cause::Address,
        (0, _) if says(&FAULT) => Cause::Fault,
        _ if says(&ACCOUNT) => Cause::Account,
        _ => Cause::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Cause::{Account, Address, Fault, Filter, Limit, Model, Parameter, TooLong, Unclear};

    fn of(status: u16, body: &str) -> Cause {
        cause(status, &Said::of_body(body))
    }

    fn error(status: u16, code: &str, message: &str) -> Cause {
        let body = serde_json::json!({"error": {"message": message, "code": code, "type": "invalid_request_error"}});
        of(status, &body.to_string())
    }

    #[test]
    fn what_concerns_every_question_is_told_from_what_concerns_one() {
        let table = [
            (
                401,
                "invalid_api_key",
                "Incorrect API key provided",
                Account,
            ),
            (
                402,
                "invalid_request_error",
                "Insufficient Balance",
                Account,
            ),
            (
                403,
                "unsupported_country_region_territory",
                "Country not supported",
                Account,
            ),
            (
                429,
                "insufficient_quota",
                "You exceeded your current quota, please check your plan",
                Account,
            ),
            (
                400,
                "",
                "Your credit balance is too low to access the API",
                Account,
            ),
            (
                400,
                "API_KEY_INVALID",
                "API key not valid. Please pass a valid API key.",
                Account,
            ),
            (
                400,
                "billing_hard_limit_reached",
                "Billing hard limit has been reached",
                Account,
            ),
            (
                404,
                "model_not_found",
                "The model `gpt-9` does not exist or you do not have access to it",
                Model,
            ),
            (400, "", "Model Not Exist", Model),
            (400, "model_not_found", "the model is not available", Model),
            (405, "", "Method Not Allowed", Address),
            (404, "", "Invalid URL (POST /chat/completions)", Address),
            (
                400,
                "content_filter",
                "The response was filtered due to the prompt triggering the content management policy",
                Filter,
            ),
            (
                403,
                "403",
                "Your chosen model requires moderation and your input was flagged",
                Filter,
            ),
            (
                400,
                "data_inspection_failed",
                "Input data may contain inappropriate content.",
                Filter,
            ),
            (
                400,
                "context_length_exceeded",
                "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens",
                TooLong,
            ),
            (
                400,
                "",
                "prompt is too long: 210000 tokens > 200000 maximum",
                TooLong,
            ),
            (
                400,
                "",
                "'max_tokens' is too large: 128. This model's maximum context length is 100 tokens",
                TooLong,
            ),
            (
                429,
                "rate_limit_exceeded",
                "Request too large for gpt-4o on tokens per min: Limit 3, Requested 9",
                TooLong,
            ),
            (413, "", "", TooLong),
            (
                429,
                "rate_limit_exceeded",
                "Rate limit reached. You can add a payment method to your account at /account/billing",
                Limit,
            ),
            (
                429,
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota, please check your plan and billing details",
                Limit,
            ),
            (503, "", "The model is overloaded", Fault),
            (500, "", "", Fault),
            (408, "", "", Fault),
            (400, "", "", Unclear),
            (
                400,
                "",
                "We could not parse the JSON body of your request",
                Unclear,
            ),
            (422, "", "", Unclear),
        ];
        for (status, code, message, want) in table {
            assert_eq!(
                error(status, code, message),
                want,
                "{status} {code} {message}"
            );
        }
    }

    #[test]
    fn errors_in_a_success_count_by_what_they_say() {
        let table = [
            (
                r#"{"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429}}"#,
                Limit,
            ),
            (r#"{"error": {"message": "no", "code": 402}}"#, Account),
            (
                r#"{"error": {"message": "busy, rate limit exceeded"}}"#,
                Limit,
            ),
            (r#"{"error": "server overloaded"}"#, Fault),
            (r#"{"error": {"message": "no", "code": 400}}"#, Unclear),
            (
                r#"{"error": {"message": "Internal Server Error", "code": 500}}"#,
                Fault,
            ),
            ("<html><title>Welcome</title>", Address),
        ];
        for (body, want) in table {
            assert_eq!(of(200, body), want, "{body}");
        }
    }

    #[test]
    fn a_named_field_is_no_fault_of_the_question_unless_it_holds_it() {
        let named = |field: &str| {
            of(
                400,
                &serde_json::json!({"error": {"message": "bad value", "param": field}}).to_string(),
            )
        };
        assert_eq!(
            (named("n"), named("model"), named("messages")),
            (Parameter, Model, Unclear)
        );
        for place in ["messages.[2].content", "messages[2].content", "input.0"] {
            assert_eq!(named(place), Unclear, "{place}");
        }
        assert_eq!(named("response_format.json_schema"), Parameter);
        let entry = r#"{"detail": [{"loc": ["body", "messages", 0], "msg": "bad", "type": "t"}]}"#;
        assert_eq!(of(422, entry), Unclear);
        let entry = r#"{"detail": [{"loc": ["body", "user"], "msg": "missing", "type": "t"}]}"#;
        assert_eq!(of(422, entry), Parameter);
    }

    #[test]
    fn web_pages_are_no_servers_of_this_interface() {
        assert_eq!(of(404, "<html><title>404 Not Found</title>"), Address);
        assert_eq!(of(404, r#"{"detail": "Not Found"}"#), Address);
        assert_eq!(of(301, ""), Address);
        assert_eq!(of(403, "<html>"), Account);
        assert_eq!(of(502, "<html>"), Fault);
    }
}
