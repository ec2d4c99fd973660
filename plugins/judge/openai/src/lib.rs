//! A language model behind an OpenAI-compatible server as judge.
//!
//! | from the environment | configuration | default |
//! |---|---|---|
//! | `HARNESS_JUDGE_MODEL` | `model` | `gpt-4o-mini`, the paper's |
//! | `OPENAI_BASE_URL` | `base_url` | OpenAI's |
//! | `OPENAI_API_KEY` | - | none: an error names the variable |
//! | - | `timeout_s` | 60, for each attempt |
//! | - | `attempts` | 6 |
//! | - | `backoff_s` | 0.8: attempt i waits a uniform draw from 0 to 0.8·2^i s, or what the server asks for |
//!
//! Tried again: 408, 409, 429, 5xx, broken connections, time-outs, answers that are not the JSON asked for (with twice
//! the tokens where the answer was cut). Not tried again: 401, 403 and an exhausted quota, which end the whole batch,
//! and other client errors, which end their request. The key appears in no message.

mod attempt;
mod failure;
mod judge;
mod retry;
mod settings;

pub use judge::OpenAi;

harness_sdk::export_plugin! {
    id: "openai",
    components: [
        judge "openai" => OpenAi: "a chat model over the network, gpt-4o-mini by default; needs OPENAI_API_KEY",
    ]
}
