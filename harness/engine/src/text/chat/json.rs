//! `tojson` as the reference defines it: `json.dumps` of Python, without HTML escapes.

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::python;

/// How `json.dumps` writes.
struct Style {
    ensure_ascii: bool,
    sort_keys: bool,
    /// What one level is moved to the right by; `None` writes one line.
    indent: Option<String>,
    between_items: String,
    after_key: String,
}

/// The filter, with the arguments of `json.dumps` by place or by name.
pub(super) fn to_json(value: Value, placed: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let of = |place: usize, name: &str| {
        let named: Option<Value> = named.get(name)?;
        let given = placed.get(place).cloned().or(named);
        Ok::<_, Error>(given.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let is_true = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let ensure_ascii = is_true(of(0, "ensure_ascii")?);
    let sort_keys = is_true(of(3, "sort_keys")?);
    let indent = match of(1, "indent")? {
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.to_owned(),
            None => {
                let wrong = || bad("indent is neither a number nor a string");
                let width = indent.as_i64().ok_or_else(wrong)?;
                " ".repeat(usize::try_from(width).unwrap_or(0).min(64))
            }
        }),
        None => None,
    };
    let (mut between_items, mut after_key) = match &indent {
        Some(_) => (",".to_owned(), ": ".to_owned()),
        None => (", ".to_owned(), ": ".to_owned()),
    };
    if let Some(given) = of(2, "separators")? {
        match python::items(&given).as_slice() {
            [items, key] => (between_items, after_key) = (python::text(items), python::text(key)),
            _ => return Err(bad("separators are not two strings")),
        }
    }
    named.assert_all_used()?;
    let style = Style {
        ensure_ascii,
        sort_keys,
        indent,
        between_items,
        after_key,
    };
    let mut out = String::new();
    style.write(&value, 0, &mut out)?;
    Ok(out)
}

fn bad(detail: impl Into<String>) -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        format!("tojson: {}", detail.into()),
    )
}

impl Style {
    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > python::MAX_NESTING {
            return Err(bad(format!("nested deeper than {}", python::MAX_NESTING)));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = python::items(value);
                self.enclosed(['[', ']'], &items, depth, out, |item, out| {
                    self.write(item, depth + 1, out)
                })?;
            }
            ValueKind::Map => {
                let mut pairs = Vec::new();
                for (key, value) in python::pairs(value) {
                    pairs.push((name(&key)?, value));
                }
                if self.sort_keys {
                    pairs.sort_by(|a, b| a.0.cmp(&b.0));
                }
                self.enclosed(['{', '}'], &pairs, depth, out, |(key, value), out| {
                    self.string(key, out);
                    out.push_str(&self.after_key);
                    self.write(value, depth + 1, out)
                })?;
            }
            kind => return Err(bad(format!("a value that is {kind} has no JSON form"))),
        }
        Ok(())
    }

    fn enclosed<T>(
        &self,
        [open, close]: [char; 2],
        items: &[T],
        depth: usize,
        out: &mut String,
        mut write: impl FnMut(&T, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push(open);
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                out.push_str(&self.between_items);
            }
            self.line(depth + 1, out);
            write(item, out)?;
        }
        if !items.is_empty() {
            self.line(depth, out);
        }
        out.push(close);
        Ok(())
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
    }

    fn string(&self, text: &str, out: &mut String) {
        out.push('"');
        for char in text.chars() {
            match char {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                ..' ' => out.push_str(&format!("\\u{:04x}", u32::from(char))),
                '\u{7f}'.. if self.ensure_ascii && char > '\u{7f}' => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => out.push(char),
            }
        }
        out.push('"');
    }
}

fn number(value: &Value) -> String {
    match python::repr(value).as_str() {
        "nan" => "NaN".into(),
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        text => text.to_owned(),
    }
}

/// A key as a string, as Python writes keys that are none.
fn name(key: &Value) -> Result<String, Error> {
    Ok(match key.kind() {
        ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
        ValueKind::None => "null".into(),
        ValueKind::Bool => if key.is_true() { "true" } else { "false" }.into(),
        ValueKind::Number => number(key),
        kind => return Err(bad(format!("a key that is {kind} has no JSON form"))),
    })
}
