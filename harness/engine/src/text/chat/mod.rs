//! Chat templates: Jinja in chat_template.jinja or tokenizer_config.json, run with a step limit.
//!
//! Templates are written for Jinja2 in Python. [`source`] rewrites what the engine here reads
//! otherwise, [`functions`] adds what the reference's environment has, and [`python`] writes values
//! as Python does. What is still not known is refused by name.

mod functions;
mod json;
mod methods;
mod percent;
mod python;
mod source;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use minijinja::value::Value as JinjaValue;
use minijinja::{Environment, Error, ErrorKind, context};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::TextError;
use super::folder::{Folder, SETTINGS_LIMIT, read_json, read_text};
use super::tokens::Tokens;

/// Template steps: real templates take a few hundred for a conversation, and an endless loop must
/// end.
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
    pub content: String,
}

impl ChatMessage {
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
    names: Vec<(String, String)>,
}

impl ChatTemplate {
    /// The template of a checkpoint folder, when it has one: that of chat_template.jinja, else of
    /// tokenizer_config.json, else of chat_template.json. Beside it what a person should know.
    ///
    /// # Errors
    /// [`TextError::Template`] when it does not parse.
    pub(super) fn find(
        folder: &Folder,
        tokens: &Tokens,
    ) -> Result<(Option<Self>, Vec<String>), TextError> {
        let file = read_text(&folder.dir.join("chat_template.jinja"), SETTINGS_LIMIT)?;
        let config = folder.tokenizer_config.get("chat_template");
        let mut notes = Vec::new();
        let source = match file {
            Some(text) => {
                let other = config.and_then(Value::as_str);
                if other.is_some_and(|other| other != text) {
                    notes.push(
                        "chat_template.jinja and tokenizer_config.json hold different chat templates; chat_template.jinja is used, as in \
                         transformers"
                            .to_owned(),
                    );
                }
                Some(text)
            }
            None => match default_template(config, &folder.dir)? {
                Some(text) => Some(text),
                None => {
                    let file = read_json(&folder.dir.join("chat_template.json"), SETTINGS_LIMIT)?;
                    let value = file.as_ref().and_then(|file| file.get("chat_template"));
                    default_template(value, &folder.dir)?
                }
            },
        };
        let Some(source) = source else {
            return Ok((None, notes));
        };
        if source.contains("strftime_now") {
            notes.push(format!(
                "the chat template asks for the date; it is told {} in every run, so that a text is the same tomorrow",
                functions::today()
            ));
        }
        let names = (tokens.named.iter())
            .map(|(name, token)| (name.clone(), token.content.clone()))
            .collect();
        Ok((Some(Self::compile(&folder.dir, &source, names)?), notes))
    }

    fn compile(dir: &Path, source: &str, names: Vec<(String, String)>) -> Result<Self, TextError> {
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
        functions::add_to(&mut environment);
        environment
            .add_template_owned("chat", source::rewrite(source).map_err(bad)?)
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
            .map(|(name, token)| (name.as_str(), token.as_str()))
            .collect();
        // Without tools and documents the reference says none, which is defined.
        let scope = context! {
            messages => messages, add_generation_prompt => add_generation_prompt,
            tools => (), documents => (), ..names
        };
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
