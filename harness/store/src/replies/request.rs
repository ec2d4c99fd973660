use serde::{Deserialize, Serialize};
use serde_json::json;

use harness_contract::canonical::hash_of;

/// Version of the layout of kept replies; part of their names.
pub const REPLY_SCHEMA: u32 = 1;

/// Everything that decides a reply. No key, address or time: two runs that ask the same get the
/// same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyRequest {
    /// Identity of the judge, e.g. `gpt-4o-mini`.
    pub judge: String,
    /// What is asked, see [`task_name`].
    pub task: String,
    /// The prompt.
    pub messages: Vec<ReplyMessage>,
    /// Most tokens of an answer.
    pub max_tokens: u32,
    pub temperature: f64,
}

/// One message of a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    pub content: String,
}

impl ReplyRequest {
    /// SHA-256 of the canonical JSON of the request and the schema of kept replies, 64 hex digits.
    ///
    /// # Errors
    /// When the request has no JSON form.
    pub fn key(&self) -> Result<String, serde_json::Error> {
        hash_of(&json!({"schema": REPLY_SCHEMA, "request": self}))
    }

    /// Tokens of the prompt at most. A token is at least one byte; each message has a few tokens
    /// around it, and the shape asked of the answer may be part of the prompt.
    pub fn most_tokens_in(&self) -> u64 {
        const AROUND_A_MESSAGE: u64 = 16;
        const SHAPE: u64 = 128;
        let of = |message: &ReplyMessage| message.content.len() as u64 + AROUND_A_MESSAGE;
        self.messages.iter().map(of).sum::<u64>() + SHAPE
    }

    /// The first words of what is asked, for messages: of the last message, on one line.
    pub fn first_words(&self) -> String {
        const CHARS: usize = 60;
        let text = self.messages.last().map_or("", |m| m.content.as_str());
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(CHARS) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }
}

/// Name of a judge's task by its number in the plugin interface.
pub fn task_name(task: u32) -> String {
    match task {
        1 => "explain".to_owned(),
        2 => "concept_pair".to_owned(),
        3 => "predict_windows".to_owned(),
        other => format!("task-{other}"),
    }
}

/// The number of a task's name, as [`task_name`] gives it.
pub fn task_number(name: &str) -> Option<u32> {
    let other = || name.strip_prefix("task-")?.parse().ok();
    (1..=3).find(|task| task_name(*task) == name).or_else(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ReplyRequest {
        ReplyRequest {
            judge: "gpt-4o-mini".into(),
            task: task_name(1),
            messages: vec![ReplyMessage {
                role: "user".into(),
                content: "what  is\nthis".into(),
            }],
            max_tokens: 96,
            temperature: 0.0,
        }
    }

    #[test]
    fn the_key_covers_every_field() {
        let key = |change: fn(&mut ReplyRequest)| {
            let mut request = request();
            change(&mut request);
            request.key().unwrap()
        };
        let base = key(|_| {});
        assert_eq!(base, key(|_| {}));
        let others = [
            key(|r| r.judge.push('x')),
            key(|r| r.task = task_name(2)),
            key(|r| r.messages[0].content.push('x')),
            key(|r| r.messages[0].role = "system".into()),
            key(|r| r.max_tokens += 1),
            key(|r| r.temperature = 0.5),
        ];
        assert!(others.iter().all(|other| *other != base));
        assert_eq!(base.len(), 64);
    }

    #[test]
    fn tasks_are_found_by_their_names() {
        for task in [1, 2, 3, 4, 77] {
            assert_eq!(task_number(&task_name(task)), Some(task));
        }
        assert_eq!(task_number("unheard of"), None);
    }

    #[test]
    fn a_prompt_has_no_more_tokens_than_its_bound() {
        assert!(request().most_tokens_in() >= "what  is\nthis".len() as u64);
        assert_eq!(request().first_words(), "what is this");
        let mut long = request();
        long.messages[0].content = "é".repeat(100);
        assert_eq!(long.first_words().chars().count(), 61);
    }
}
