//! Chat templates: Jinja in tokenizer_config.json or chat_template.jinja, run with a step limit.

use std::path::{Path, PathBuf};

use minijinja::value::{Kwargs, Value as JinjaValue};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::TextError;
use super::folder::{Folder, SETTINGS_LIMIT, read_json, read_text};
use super::special;

/// Template steps: real templates take a few hundred for a conversation, and an endless loop must end.
const FUEL: u64 = 2_000_000;
/// Bytes of a template; the longest published ones have some 20 kB.
const MAX_TEMPLATE_BYTES: usize = 1 << 20;
/// Bytes of a rendered conversation.
const MAX_RENDERED_BYTES: usize = 64 << 20;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`, as the template expects it.
    pub role: String,
    /// The message.
    pub content: String,
}

impl ChatMessage {
    /// A message of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: "user".into(),
            content: content.into(),
        }
    }
}

/// A compiled chat template with the names of the tokenizer's special tokens.
pub struct ChatTemplate {
    dir: PathBuf,
    environment: Environment<'static>,
    names: Vec<(&'static str, String)>,
}

impl ChatTemplate {
    /// The template of a checkpoint folder, when it has one: chat_template.jinja, chat_template.json, then tokenizer_config.json.
    ///
    /// # Errors
    /// [`TextError::Template`] when it does not parse.
    pub(super) fn find(folder: &Folder) -> Result<Option<Self>, TextError> {
        let source = match read_text(&folder.dir.join("chat_template.jinja"), SETTINGS_LIMIT)? {
            Some(text) => Some(text),
            None => {
                let separate = read_json(&folder.dir.join("chat_template.json"), SETTINGS_LIMIT)?;
                let value = separate
                    .as_ref()
                    .and_then(|file| file.get("chat_template"))
                    .or_else(|| folder.tokenizer_config.get("chat_template"));
                default_template(value, &folder.dir)?
            }
        };
        source
            .map(|text| Self::compile(&folder.dir, text, special::template_names(folder)))
            .transpose()
    }

    fn compile(
        dir: &Path,
        source: String,
        names: Vec<(&'static str, String)>,
    ) -> Result<Self, TextError> {
        let bad = |detail: String| TextError::Template {
            path: dir.to_owned(),
            detail,
        };
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(bad(format!(
                "{} bytes, the limit is {MAX_TEMPLATE_BYTES}",
                source.len()
            )));
        }
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(64);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<String, Error> {
                Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("the template refuses this conversation: {message}"),
                ))
            },
        );
        environment.add_filter("tojson", to_json);
        environment
            .add_template_owned("chat", source)
            .map_err(|error| bad(describe(&error)))?;
        Ok(Self {
            dir: dir.to_owned(),
            environment,
            names,
        })
    }

    /// Renders `messages`; with `add_generation_prompt` ending where the assistant's answer begins.
    ///
    /// # Errors
    /// [`TextError::Template`] with line and reason, also when the step limit is reached.
    pub fn render(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
    ) -> Result<String, TextError> {
        let bad = |detail: String| TextError::Template {
            path: self.dir.clone(),
            detail,
        };
        let names: JinjaValue = self
            .names
            .iter()
            .map(|(name, token)| (*name, token.as_str()))
            .collect();
        let scope = context! { messages => messages, add_generation_prompt => add_generation_prompt, ..names };
        let template = self
            .environment
            .get_template("chat")
            .map_err(|error| bad(describe(&error)))?;
        let text = template
            .render(scope)
            .map_err(|error| bad(describe(&error)))?;
        if text.len() > MAX_RENDERED_BYTES {
            return Err(bad(format!(
                "the rendered conversation has {} bytes, the limit is {MAX_RENDERED_BYTES}",
                text.len()
            )));
        }
        Ok(text)
    }
}

/// A template is a string, or a list of named ones of which `default` is meant for conversations.
fn default_template(value: Option<&Value>, dir: &Path) -> Result<Option<String>, TextError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Array(named)) => {
            let default = named
                .iter()
                .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"));
            let text = default
                .and_then(|entry| entry.get("template"))
                .and_then(Value::as_str);
            let found: Vec<&str> = named
                .iter()
                .filter_map(|entry| entry.get("name").and_then(Value::as_str))
                .collect();
            let missing = || TextError::Template {
                path: dir.to_owned(),
                detail: format!("a list without the template \"default\"; it names {found:?}"),
            };
            text.map(|text| Some(text.to_owned())).ok_or_else(missing)
        }
        Some(_) => Err(TextError::Template {
            path: dir.to_owned(),
            detail: "chat_template is neither a string nor a list".into(),
        }),
    }
}

fn describe(error: &Error) -> String {
    let line = error
        .line()
        .map_or(String::new(), |line| format!("line {line}: "));
    let detail = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.kind() {
        ErrorKind::OutOfFuel => format!("{line}more than {FUEL} steps: the template does not end"),
        _ => format!("{line}{detail}"),
    }
}

/// `tojson` as the reference defines it: Python's spacing, no HTML escapes, characters beyond ASCII kept.
fn to_json(value: JinjaValue, options: Kwargs) -> Result<String, Error> {
    let fail =
        |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let json = serde_json::to_value(&value).map_err(fail)?;
    match indent {
        Some(width) => {
            let pad = " ".repeat(width.min(16));
            let mut out = Vec::new();
            let mut writer = serde_json::Serializer::with_formatter(
                &mut out,
                serde_json::ser::PrettyFormatter::with_indent(pad.as_bytes()),
            );
            json.serialize(&mut writer).map_err(fail)?;
            String::from_utf8(out)
                .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
        }
        None => Ok(python_json(&json)),
    }
}

fn python_json(value: &Value) -> String {
    match value {
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(python_json).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(object) => {
            let entries: Vec<String> = object
                .iter()
                .map(|(key, value)| {
                    format!("{}: {}", Value::from(key.as_str()), python_json(value))
                })
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(source: &str) -> Result<ChatTemplate, TextError> {
        ChatTemplate::compile(
            Path::new("model"),
            source.into(),
            vec![("bos_token", "<s>".into())],
        )
    }

    #[test]
    fn python_methods_special_tokens_and_trailing_newline() {
        let chat = template("{{ bos_token }}{% for m in messages %}\n{{ m['content'].strip().upper() }};{% endfor %}\n\n\n").unwrap();
        assert_eq!(
            chat.render(&[ChatMessage::user(" hi ")], true).unwrap(),
            "<s>HI;\n"
        );
    }

    #[test]
    fn an_endless_template_ends_with_an_error() {
        let chat = template(
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
        )
        .unwrap();
        let error = chat.render(&[], false).unwrap_err().to_string();
        assert!(error.contains("does not end"), "{error}");
    }

    #[test]
    fn a_template_can_refuse_and_a_broken_one_names_its_line() {
        let chat = template("{{ raise_exception('roles must alternate') }}").unwrap();
        assert!(
            chat.render(&[], false)
                .unwrap_err()
                .to_string()
                .contains("roles must alternate")
        );
        let error = template("{{ a }}\n{% for %}")
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn tojson_is_pythons() {
        let chat = template("{{ messages | tojson }}").unwrap();
        assert_eq!(
            chat.render(&[ChatMessage::user("<é>")], false).unwrap(),
            "[{\"role\": \"user\", \"content\": \"<é>\"}]"
        );
    }
}
