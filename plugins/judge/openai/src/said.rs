//! What a server says of an error, in whatever shape it says it.

use harness_sdk::Value;

/// Longest part of a server's message that is passed on, in characters.
const MESSAGE_CHARS: usize = 300;

/// What the body of an error answer says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    /// Its own number, where it has one: gateways send errors of others with status 200.
    pub status: Option<u16>,
    /// Its code, e.g. `insufficient_quota`.
    pub code: String,
    /// Its class, e.g. `invalid_request_error`.
    pub kind: String,
    /// Fields of the request that it names, separated by blanks.
    pub fields: String,
    /// Its message, shortened.
    pub message: String,
    /// Whether the body is a web page, which no server of this interface sends.
    pub is_page: bool,
}

impl Said {
    /// What a body says: JSON in one of the usual shapes, a web page, or plain text.
    pub fn of_body(body: &str) -> Said {
        let json = serde_json::from_str(body).ok();
        if let Some(said) = json.as_ref().and_then(Said::of) {
            return said;
        }
        let is_page = body.trim_start().starts_with('<');
        Said {
            message: match (is_page, title(body)) {
                (true, Some(title)) => format!("a web page, `{}`", shortened(title)),
                (true, None) => "a web page".to_owned(),
                (false, _) => shortened(body),
            },
            is_page,
            ..Said::default()
        }
    }

    /// What a JSON body says of an error; `None` where it says nothing of one.
    pub fn of(body: &Value) -> Option<Said> {
        // Google sends a list of one.
        let body = body.get(0).unwrap_or(body);
        let error = &body["error"];
        if let Some(text) = error.as_str().filter(|text| !text.is_empty()) {
            return Some(Said {
                message: shortened(text),
                ..Said::of_object(body)
            });
        }
        if error.is_object() {
            return Some(Said::of_object(error));
        }
        let detail = &body["detail"];
        if let Some(entries) = detail.as_array().filter(|entries| !entries.is_empty()) {
            return Some(Said::of_entries(entries));
        }
        if detail.is_object() {
            return Some(Said::of_object(detail));
        }
        if let Some(text) = detail.as_str() {
            return Some(Said {
                message: shortened(text),
                ..Said::default()
            });
        }
        let is_error = body["choices"].is_null() && !message_of(body).is_empty();
        is_error.then(|| Said::of_object(body))
    }

    fn of_object(error: &Value) -> Said {
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| {
            let value = &error[key];
            let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
            u16::try_from(number)
                .ok()
                .filter(|n| (400..600).contains(n))
        };
        let code = match text("code") {
            code if code.is_empty() => text("error_code"),
            code => code,
        };
        // `messages.[2].content` and `messages[2]` are places in a field.
        let place = text("param");
        let field = place.split(['.', '[']).next().unwrap_or_default();
        // A gateway hides the words of the server behind it in a field of its own.
        let behind = error["metadata"]["raw"].as_str().unwrap_or_default();
        let message = message_of(error);
        Said {
            status: number("code").or_else(|| number("status")),
            code,
            kind: [text("type"), text("status")].join(" ").trim().to_owned(),
            fields: field.to_owned(),
            message: match behind.is_empty() {
                true => shortened(&message),
                false => shortened(&format!("{message}: {behind}")),
            },
            is_page: false,
        }
    }

    /// Entries of a validation, as FastAPI writes them: where and what.
    fn of_entries(entries: &[Value]) -> Said {
        let (mut fields, mut messages) = (Vec::new(), Vec::new());
        for entry in entries {
            let place: Vec<&str> = (entry["loc"].as_array().into_iter().flatten())
                .filter_map(Value::as_str)
                .filter(|part| *part != "body")
                .collect();
            let message = entry["msg"].as_str().unwrap_or_default();
            messages.push(format!("{}: {message}", place.join(".")));
            fields.extend(place.first().map(|first| (*first).to_owned()));
        }
        Said {
            kind: entries[0]["type"].as_str().unwrap_or_default().to_owned(),
            fields: fields.join(" "),
            message: shortened(&messages.join("; ")),
            ..Said::default()
        }
    }

    /// All its words, in lower case.
    pub fn words(&self) -> String {
        format!("{} {} {}", self.code, self.kind, self.message).to_lowercase()
    }

    /// Its code or class, for people.
    pub fn label(&self) -> &str {
        match self.code.is_empty() {
            true => &self.kind,
            false => &self.code,
        }
    }
}

fn message_of(error: &Value) -> String {
    let keys = ["message", "msg", "error_msg", "error_description"];
    let text = keys.iter().find_map(|key| error[*key].as_str());
    text.unwrap_or_default().to_owned()
}

/// The title of a web page.
fn title(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    Some(page[start..end].trim()).filter(|title| !title.is_empty())
}

/// The beginning of a text, on one line.
pub fn shortened(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_in_every_shape_servers_write_them_in() {
        // Body, status of its own, code, fields, message.
        let table = [
            (
                r#"{"error": {"message": "no", "type": "t", "param": "temperature", "code": "unsupported_value"}}"#,
                None,
                "unsupported_value",
                "temperature",
                "no",
            ),
            (
                r#"{"error": {"message": "late", "code": 429}, "user_id": "u"}"#,
                Some(429),
                "",
                "",
                "late",
            ),
            (
                r#"{"error": {"message": "late", "code": "503"}}"#,
                Some(503),
                "503",
                "",
                "late",
            ),
            (
                r#"[{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}]"#,
                Some(400),
                "",
                "",
                "bad",
            ),
            (
                r#"{"error": "model 'x' not found"}"#,
                None,
                "",
                "",
                "model 'x' not found",
            ),
            (
                r#"{"object": "error", "message": "too long", "code": 400}"#,
                Some(400),
                "",
                "",
                "too long",
            ),
            (r#"{"detail": "Not Found"}"#, None, "", "", "Not Found"),
            (
                r#"{"detail": [{"loc": ["body", "max_completion_tokens"], "msg": "not permitted", "type": "extra_forbidden"}]}"#,
                None,
                "",
                "max_completion_tokens",
                "max_completion_tokens: not permitted",
            ),
            (
                r#"{"error_code": "17", "error_msg": "daily limit"}"#,
                None,
                "17",
                "",
                "daily limit",
            ),
            (
                r#"{"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "context length"}}}"#,
                Some(400),
                "",
                "",
                "Provider returned error: context length",
            ),
            ("no\n  JSON", None, "", "", "no JSON"),
            (
                "<html><title>404 Not\nFound</title>",
                None,
                "",
                "",
                "a web page, `404 Not Found`",
            ),
            ("<html>", None, "", "", "a web page"),
        ];
        for (body, status, code, fields, message) in table {
            let said = Said::of_body(body);
            assert_eq!(
                (said.status, &*said.code, &*said.fields, &*said.message),
                (status, code, fields, message),
                "{body}"
            );
        }
        assert!(Said::of_body("<html>").is_page);
    }

    #[test]
    fn an_answer_is_no_error() {
        for body in [
            r#"{"choices": [], "message": "hello"}"#,
            r#"{"error": null}"#,
            "{}",
            "3",
        ] {
            assert_eq!(
                Said::of(&serde_json::from_str(body).unwrap()),
                None,
                "{body}"
            );
        }
    }
}
