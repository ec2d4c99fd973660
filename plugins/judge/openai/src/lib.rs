//! A language model behind an OpenAI-compatible server as judge.
//!
//! | from the environment | configuration | default |
//! |---|---|---|
//! | `HARNESS_JUDGE_MODEL` | `model` | `gpt-4o-mini`, the paper's |
//! | `OPENAI_BASE_URL` | `base_url` | OpenAI's |
//! | `OPENAI_API_KEY` | - | none: an error names the variable |
//! | `HARNESS_JUDGE_TIMEOUT` | `timeout_s` | 60, for each attempt |
//! | - | `total_s` | 600, for a request with all its attempts and waits |
//! | `HARNESS_JUDGE_ATTEMPTS` | `attempts` | 6 |
//! | `HARNESS_JUDGE_BACKOFF` | `backoff_s` | 0.8: attempt i waits a uniform draw from 0 to 0.8·2^i s, or what the server asks for |
//!
//! | what comes | what follows |
//! |---|---|
//! | 408, 409, 425, 429, 5xx, a broken connection, a time-out, a body that is no JSON | tried again; `retry-after-ms`, `retry-after` (seconds or a date) and `x-should-retry` are believed. Then the request fails as `NETWORK` or `RATE_LIMITED` |
//! | three requests in a row that fail so, or two at a server that has never answered | the batch ends |
//! | a closed port, an unknown host, a certificate that is not trusted, a web page | the same; a server that has never answered gets three attempts, then the batch ends |
//! | an answer that is not the JSON asked for | asked for once more, with twice the tokens where it was cut; then the request fails as `UNUSABLE` |
//! | a refusal | the request fails as `REFUSED` |
//! | an error of a filter of content; a question that is too long | the request fails as `FILTERED` or `TOO_LONG` |
//! | an error of the account (401, 402, 403, no credit), the model, the address (404, 405), a field that all requests carry | nothing further is sent, what is under way is waited for, and the batch ends |
//! | 400, 404 or 422 about a field of the form of requests | the next form, see `form.rs`, for all further requests; that is not an attempt |
//! | another client error | where any request has been answered, the request fails; else another is asked, and when that fails alike the batch ends |
//!
//! An error object in an answer of status 200 counts by its own number or words (`cause.rs` has
//! them all). The first request to a server goes alone, so that what concerns all is found out by
//! one.
//!
//! Batches (`submit`, `find`, `poll`) are those of the Batch API; their tag is kept in the batch's
//! metadata, and an answer is paid for once. A line with an error is read as the same error live; a
//! line that is missing or was left out (`batch_expired`) may be asked for again, and so may one
//! that objects to the form.
//!
//! The number of requests under way halves at a 429, grows back with answers and never exceeds what
//! `x-ratelimit-remaining-requests` says is left. Each reply is handed over the moment it is there.
//! Answers are paid for twice at most for each request, which is what the host's budget reserves.
//! The key appears in no message.

mod answer;
mod attempt;
mod batch;
mod cause;
mod evidence;
mod failure;
mod form;
mod json;
mod judge;
mod pace;
mod retry;
mod said;
mod settings;

pub use judge::OpenAi;

harness_sdk::export_plugin! {
    id: "openai",
    components: [
        judge "openai" => OpenAi: "a chat model over the network, gpt-4o-mini by default; needs OPENAI_API_KEY",
    ]
}
