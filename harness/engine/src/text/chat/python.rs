//! Values as Python writes them: what `{{ … }}`, `~`, `string` and `join` print.

use minijinja::value::{Value, ValueKind};

/// `str(value)`: strings as they are, nothing for what is undefined.
pub(super) fn text(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_undefined() => String::new(),
        None => repr(value),
    }
}

/// Deepest nesting that is written; beyond it Python's sign for a list within itself stands.
pub(super) const MAX_NESTING: usize = 100;

/// `repr(value)`.
pub(super) fn repr(value: &Value) -> String {
    nested(value, 0)
}

fn nested(value: &Value, depth: usize) -> String {
    let repr = |value: &Value| nested(value, depth + 1);
    match value.kind() {
        ValueKind::Undefined => "Undefined".into(),
        ValueKind::None => "None".into(),
        ValueKind::Bool => if value.is_true() { "True" } else { "False" }.into(),
        ValueKind::Number if value.is_integer() => value.to_string(),
        ValueKind::Number => f64::try_from(value.clone()).map_or(value.to_string(), float),
        ValueKind::String => quoted(value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map if depth > MAX_NESTING => {
            "[...]".into()
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<String> = items(value).iter().map(repr).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::Map => {
            let entries = pairs(value);
            let entries = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", repr(key), repr(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        _ => value.to_string(),
    }
}

/// The values of a list; none where `value` is no list.
pub(super) fn items(value: &Value) -> Vec<Value> {
    value.try_iter().map(Iterator::collect).unwrap_or_default()
}

/// Keys and values of a mapping.
pub(super) fn pairs(value: &Value) -> Vec<(Value, Value)> {
    let of = |key: Value| {
        let value = value.get_item(&key).unwrap_or_default();
        (key, value)
    };
    items(value).into_iter().map(of).collect()
}

/// The shortest digits that read back as `number`, with an exponent where Python writes one.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        return if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A string in quotes, with escapes for what does not print.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if char == quote => out.extend(['\\', char]),
            _ if prints(char) => out.push(char),
            _ => out.push_str(&match u32::from(char) {
                code @ ..0x100 => format!("\\x{code:02x}"),
                code @ ..0x1_0000 => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push(quote);
    out
}

/// Whether a character is shown as itself. The standard library's tables are made from Python's;
/// a letter in front keeps marks that join a letter from being taken for unprintable.
fn prints(char: char) -> bool {
    let pair: String = ['a', char].iter().collect();
    matches!(char, '\'' | '"') || pair.escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_python_writes_them() {
        let list = |values: Vec<Value>| Value::from(values);
        for (value, want) in [
            (
                list(vec![1.into(), "a".into(), true.into(), ().into()]),
                "[1, 'a', True, None]",
            ),
            (
                list(vec![
                    "it's".into(),
                    "\"'".into(),
                    "\u{a0}é\u{301}\u{200b}\n".into(),
                ]),
                r#"["it's", '"\'', '\xa0é́\u200b\n']"#,
            ),
            (1e16.into(), "1e+16"),
            (1.5e-7.into(), "1.5e-07"),
            (0.0001.into(), "0.0001"),
            (2.0.into(), "2.0"),
            (123_456_789_012_345_680.0.into(), "1.2345678901234568e+17"),
        ] {
            assert_eq!(text(&value), want);
        }
        assert_eq!(text(&Value::UNDEFINED), "");
    }
}
