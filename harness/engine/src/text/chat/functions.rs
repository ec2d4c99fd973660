//! What the reference's template environment has beside plain Jinja.

use chrono::{NaiveDate, NaiveDateTime};
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use super::source::{CONCAT, MODULO};
use super::{json, methods, percent, python};

/// What `strftime_now` takes for now. A text that told the day it was rendered on would be another
/// one tomorrow, under the same key and beside stored results; so it is one day for all runs: the
/// one that Llama 3.1's template falls back on where it is told no date.
const TODAY: (i32, u32, u32) = (2024, 7, 26);

fn bad(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, detail.into())
}

/// Adds functions, filters, tests and Python's way of writing values to `environment`.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.set_formatter(|out, _, value| match value.kind() {
        ValueKind::Invalid => Err(bad(value.to_string())),
        _ => Ok(out.write_str(&python::text(value))?),
    });
    environment.set_unknown_method_callback(methods::call);
    environment.add_function(
        "raise_exception",
        |message: Value| -> Result<String, Error> {
            let message = python::text(&message);
            Err(bad(format!(
                "the template refuses this conversation: {message}"
            )))
        },
    );
    environment.add_function("strftime_now", strftime_now);
    environment.add_function(MODULO, percent::modulo);
    environment.add_function(CONCAT, |values: Rest<Value>| -> String {
        values.iter().map(python::text).collect()
    });
    environment.add_filter("tojson", json::to_json);
    environment.add_filter("string", |value: Value| python::text(&value));
    environment.add_filter("join", join);
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_filter("escape", escape);
    environment.add_filter("e", escape);
    environment.add_filter(
        "format",
        |text: String, values: Rest<Value>, named: Kwargs| {
            let names = Value::from(named);
            percent::format(&text, &values, Some(&names))
        },
    );
    environment.add_test("number", |value: &Value| {
        matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
    });
    environment.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::String | ValueKind::Seq | ValueKind::Map
        )
    });
    environment.add_test("iterable", |value: &Value| {
        let kind = value.kind();
        kind == ValueKind::String || value.is_undefined() || value.try_iter().is_ok()
    });
}

/// `length`, which is 0 for what is undefined.
fn length(value: &Value) -> Result<usize, Error> {
    match value.as_str() {
        Some(text) => Ok(text.chars().count()),
        None if value.is_undefined() => Ok(0),
        None => Ok(value.try_iter()?.count()),
    }
}

/// `escape` with the names of characters that Python's markupsafe writes.
fn escape(value: Value) -> String {
    let names = [
        ('&', "&amp;"),
        ('<', "&lt;"),
        ('>', "&gt;"),
        ('\'', "&#39;"),
        ('"', "&#34;"),
    ];
    let text = python::text(&value);
    let name = |char: char| names.iter().find(|(known, _)| *known == char);
    text.chars()
        .map(|char| name(char).map_or(char.to_string(), |(_, name)| (*name).to_owned()))
        .collect()
}

/// `join` with Python's way of writing the values, of themselves or of an attribute.
fn join(
    value: Value,
    between: Option<Value>,
    attribute: Option<String>,
    named: Kwargs,
) -> Result<String, Error> {
    let between = between.or(named.get("d")?).map(|text| python::text(&text));
    let attribute = attribute.or(named.get("attribute")?);
    named.assert_all_used()?;
    let items = match value.as_str() {
        Some(text) => text
            .chars()
            .map(|char| Value::from(char.to_string()))
            .collect(),
        None => value.try_iter()?.collect::<Vec<Value>>(),
    };
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        texts.push(match &attribute {
            Some(name) => python::text(&item.get_attr(name)?),
            None => python::text(&item),
        });
    }
    Ok(texts.join(&between.unwrap_or_default()))
}

fn strftime_now(format: &str) -> Result<String, Error> {
    use std::fmt::Write;
    let now = now().ok_or_else(|| bad("strftime_now: no such day"))?;
    let mut out = String::new();
    match write!(out, "{}", now.format(format)) {
        Ok(()) => Ok(out),
        Err(_) => Err(bad(format!(
            "strftime_now: the format {format:?} is not known here"
        ))),
    }
}

/// What templates are told for the date, for messages.
pub(super) fn today() -> String {
    strftime_now("%d %b %Y").unwrap_or_default()
}

fn now() -> Option<NaiveDateTime> {
    let (year, month, day) = TODAY;
    NaiveDate::from_ymd_opt(year, month, day)?.and_hms_opt(0, 0, 0)
}
