//! The form of a request: fields that not every server takes, and what goes out instead once one
//! has been refused.
//!
//! | field | at first | after a refusal |
//! |---|---|---|
//! | `response_format` | the task's JSON schema | any JSON object, then nothing: the prompt asks for JSON |
//! | `max_completion_tokens` | sent | `max_tokens`; there is no form without a limit, which would have no price |
//! | `temperature` | sent | left out, so that the server's own holds |
//!
//! A refusal is not paid for. It is met once in a process: all further requests to that server and
//! model leave in the new form.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use harness_sdk::{JudgeTask, Value};
use serde_json::json;

use crate::{said::Said, settings::Settings};

/// How an answer's form is asked for, the strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// `response_format` with the task's schema.
    Schema,
    /// `response_format` of type `json_object`.
    Json,
    /// The prompt alone; the answer is checked as strictly as the others.
    Prompt,
}

/// The form of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// How the answer's form is asked for.
    pub shape: Shape,
    /// The field that holds the most tokens of an answer.
    pub limit: &'static str,
    /// Whether the temperature is sent.
    pub temperature: bool,
}

/// A field of the form that a server objects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `response_format`.
    Shape,
    /// The one named by [`Form::limit`].
    Limit,
    Temperature,
}

/// The form of requests to a server that is not known yet.
pub const FIRST: Form = Form {
    shape: Shape::Schema,
    limit: "max_completion_tokens",
    temperature: true,
};

/// What is known of a server and model.
struct Learnt {
    form: Form,
    /// Each refusal with what follows from it.
    notes: Vec<String>,
}

/// By address and model: once one has refused a field, nobody in this process sends it there again.
static LEARNT: Mutex<BTreeMap<(String, String), Learnt>> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, BTreeMap<(String, String), Learnt>> {
    LEARNT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(settings: &Settings) -> (String, String) {
    (settings.base_url.clone(), settings.model.clone())
}

impl Form {
    /// The first form of which the server has refused nothing.
    pub fn of(settings: &Settings) -> Form {
        known().get(&place(settings)).map_or(FIRST, |it| it.form)
    }

    /// What was learnt of the server, a line each.
    pub fn learnt(settings: &Settings) -> Vec<String> {
        let known = known();
        known
            .get(&place(settings))
            .map_or_else(Vec::new, |it| it.notes.clone())
    }

    /// The field of this form that an error names.
    pub fn named(self, said: &Said) -> Option<Field> {
        let of = |text: &str| {
            let text = text.to_lowercase();
            let shape = [
                "response_format",
                "json_schema",
                "json_object",
                "schema",
                "grammar",
            ];
            if self.shape != Shape::Prompt && shape.iter().any(|word| text.contains(word)) {
                Some(Field::Shape)
            } else if text.contains(self.limit) {
                Some(Field::Limit)
            } else if self.temperature && text.contains("temperature") {
                Some(Field::Temperature)
            } else {
                None
            }
        };
        // What the server names as the field goes before what its sentence mentions.
        of(&said.fields).or_else(|| of(&format!("{} {}", said.code, said.message)))
    }

    /// Remembers that the server has refused a field of this form; the form to ask in next, `None`
    /// after the last.
    pub fn refused(self, field: Field, settings: &Settings, said: &Said) -> Option<Form> {
        let mut known = known();
        let learnt = known.entry(place(settings)).or_insert(Learnt {
            form: FIRST,
            notes: Vec::new(),
        });
        if learnt.form.differs(self, field) {
            // Others have met the same refusal while this request was under way.
            return Some(learnt.form);
        }
        let (form, instead) = learnt.form.without(field)?;
        learnt.form = form;
        let (host, model) = (settings.host(), &settings.model);
        let note = format!("{model} at {host}: {instead} (it said: {})", said.message);
        learnt.notes.push(settings.redact(&note));
        Some(form)
    }

    fn differs(self, sent: Form, field: Field) -> bool {
        match field {
            Field::Shape => self.shape != sent.shape,
            Field::Limit => self.limit != sent.limit,
            Field::Temperature => self.temperature != sent.temperature,
        }
    }

    /// The next form that does without a field as it is, and what that means.
    fn without(self, field: Field) -> Option<(Form, &'static str)> {
        match field {
            Field::Shape => match self.shape {
                Shape::Schema => Some((
                    Form {
                        shape: Shape::Json,
                        ..self
                    },
                    "`response_format` asks for any JSON object, not for a schema",
                )),
                Shape::Json => Some((
                    Form {
                        shape: Shape::Prompt,
                        ..self
                    },
                    "`response_format` is left out, the prompt alone asks for JSON",
                )),
                Shape::Prompt => None,
            },
            Field::Limit => (self.limit == FIRST.limit).then_some((
                Form {
                    limit: "max_tokens",
                    ..self
                },
                "`max_tokens` is sent in place of `max_completion_tokens`",
            )),
            Field::Temperature => self.temperature.then_some((
                Form {
                    temperature: false,
                    ..self
                },
                "`temperature` is left out, the server's own holds",
            )),
        }
    }
}

impl Shape {
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

    fn said(message: &str) -> Said {
        Said {
            message: message.to_owned(),
            ..Said::default()
        }
    }

    #[test]
    fn what_a_server_refuses_is_not_sent_again() {
        let (ours, other) = (settings("refuses"), settings("takes-all"));
        let first = Form::of(&ours);
        let no = said("no");
        let json = first.refused(Field::Shape, &ours, &no).unwrap();
        assert_eq!((json.shape, Form::of(&ours)), (Shape::Json, json));
        let bare = json.refused(Field::Temperature, &ours, &no).unwrap();
        assert_eq!((bare.shape, bare.temperature), (Shape::Json, false));
        let older = bare.refused(Field::Limit, &ours, &no).unwrap();
        assert_eq!((older.limit, older.temperature), ("max_tokens", false));
        // A request that was under way in the first form meets what others have found out.
        assert_eq!(first.refused(Field::Shape, &ours, &no), Some(older));
        assert_eq!(older.refused(Field::Limit, &ours, &no), None);
        assert_eq!(older.refused(Field::Temperature, &ours, &no), None);
        let prompt = older.refused(Field::Shape, &ours, &no).unwrap();
        assert_eq!(prompt.refused(Field::Shape, &ours, &no), None);
        assert_eq!(Form::of(&other), FIRST);
        assert_eq!(
            (Form::learnt(&ours).len(), Form::learnt(&other).len()),
            (4, 0)
        );
        assert!(Form::learnt(&ours)[1].contains("`temperature` is left out"));
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
    fn the_field_an_error_names_is_the_one_that_goes() {
        let named = |message: &str| FIRST.named(&said(message));
        assert_eq!(
            named("Invalid parameter: 'response_format' of type 'json_schema'"),
            Some(Field::Shape)
        );
        assert_eq!(
            named("Unsupported value: 'temperature' does not support 0.0 with this model"),
            Some(Field::Temperature)
        );
        assert_eq!(
            named("Unrecognized request argument supplied: max_completion_tokens"),
            Some(Field::Limit)
        );
        assert_eq!(named("maximum context length is 8192 tokens"), None);
        let both = Said {
            fields: "temperature".to_owned(),
            ..said("unsupported; response_format and others are")
        };
        assert_eq!(FIRST.named(&both), Some(Field::Temperature));
        let without = Form {
            temperature: false,
            ..FIRST
        };
        assert_eq!(without.named(&said("temperature")), None);
    }
}
