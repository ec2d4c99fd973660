//! The form asked of an answer: a JSON schema where the server takes one, else JSON, else the prompt alone asks for it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use harness_sdk::{JudgeTask, Value};
use serde_json::json;

use crate::settings::Settings;

/// How the form is asked for, the strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// `response_format` with the task's schema.
    Schema,
    /// `response_format` of type `json_object`.
    Json,
    /// The prompt alone; the answer is checked as strictly as the others.
    Prompt,
}

/// What servers take, by address and model: once one has refused a form, nobody in this process asks it for that again.
static TAKEN: Mutex<BTreeMap<(String, String), Shape>> = Mutex::new(BTreeMap::new());

impl Shape {
    /// The strictest form that the server has not refused.
    pub fn of(settings: &Settings) -> Shape {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        taken
            .get(&place(settings))
            .copied()
            .unwrap_or(Shape::Schema)
    }

    /// Remembers that the server has refused this form; what to ask next, `None` after the last.
    pub fn refused(self, settings: &Settings) -> Option<Shape> {
        let next = match self {
            Shape::Schema => Shape::Json,
            Shape::Json => Shape::Prompt,
            Shape::Prompt => return None,
        };
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = taken.entry(place(settings)).or_insert(next);
        *kept = next.max(*kept);
        Some(*kept)
    }

    /// `response_format` of a request, where there is one.
    pub fn response_format(self, task: JudgeTask) -> Option<Value> {
        let object = json!({"type": "json_object"});
        match self {
            Shape::Schema => Some(match schema(task) {
                Some((name, schema)) => json!({
                    "type": "json_schema",
                    "json_schema": {"name": name, "strict": true, "schema": schema},
                }),
                None => object,
            }),
            Shape::Json => Some(object),
            Shape::Prompt => None,
        }
    }
}

/// Whether a server that answers 400 with this message objects to the form asked for, and not to the request.
pub fn is_objection(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "response_format",
        "json_schema",
        "json_object",
        "schema",
        "grammar",
    ]
    .iter()
    .any(|word| message.contains(word))
}

fn place(settings: &Settings) -> (String, String) {
    (settings.base_url.clone(), settings.model.clone())
}

/// Name and schema of a task's answer.
fn schema(task: JudgeTask) -> Option<(&'static str, Value)> {
    let object = |properties: &[(&str, Value)]| {
        let names: Vec<&str> = properties.iter().map(|(name, _)| *name).collect();
        let properties: BTreeMap<&str, &Value> = properties
            .iter()
            .map(|(name, value)| (*name, value))
            .collect();
        json!({
            "type": "object",
            "properties": properties,
            "required": names,
            "additionalProperties": false,
        })
    };
    let number = json!({"type": "number"});
    match task {
        JudgeTask::EXPLAIN => Some((
            "explanation",
            object(&[("explanation", json!({"type": "string"}))]),
        )),
        JudgeTask::CONCEPT_PAIR => Some((
            "scores",
            object(&[("score_without", number.clone()), ("score_after", number)]),
        )),
        JudgeTask::PREDICT_WINDOWS => {
            let list = json!({"type": "array", "items": {"type": "integer"}});
            Some(("windows", object(&[("active", list)])))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(model: &str) -> Settings {
        Settings::resolve(&json!({"model": model}), |_| None).unwrap()
    }

    #[test]
    fn what_a_server_refuses_is_not_asked_again() {
        let (ours, other) = (settings("refuses-schema"), settings("takes-schema"));
        assert_eq!(Shape::of(&ours), Shape::Schema);
        assert_eq!(Shape::Schema.refused(&ours), Some(Shape::Json));
        assert_eq!(Shape::of(&ours), Shape::Json);
        assert_eq!(Shape::Json.refused(&ours), Some(Shape::Prompt));
        // A request that was under way in the first form meets what others have found out.
        assert_eq!(Shape::Schema.refused(&ours), Some(Shape::Prompt));
        assert_eq!(Shape::Prompt.refused(&ours), None);
        assert_eq!(Shape::of(&other), Shape::Schema);
    }

    #[test]
    fn each_task_has_its_schema() {
        let of = |task| Shape::Schema.response_format(task).unwrap();
        let pair = of(JudgeTask::CONCEPT_PAIR);
        assert_eq!(pair["json_schema"]["strict"], true);
        let required = &pair["json_schema"]["schema"]["required"];
        assert_eq!(*required, json!(["score_without", "score_after"]));
        assert_eq!(of(JudgeTask(99))["type"], "json_object");
        assert!(Shape::Prompt.response_format(JudgeTask::EXPLAIN).is_none());
    }

    #[test]
    fn only_objections_to_the_form_lead_to_another() {
        assert!(is_objection(
            "Invalid parameter: 'response_format' of type 'json_schema'"
        ));
        assert!(!is_objection("maximum context length is 8192 tokens"));
    }
}
