//! Small JSON files from outside: their size, what they are instead, and Python's way of numbers.

use std::{borrow::Cow, fs::File, io::Read, path::Path};

use serde_json::{Map, Value};

use crate::{InputError, LookAlike, Result};

/// Numbers that Python's `json` writes and JSON does not have.
const NOT_JSON: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// JSON as Python writes it, made into JSON: `NaN`, `Infinity` and `-Infinity` become texts of the
/// same letters. A field that nobody reads may hold them, and a reader that wants a number there
/// says what it found.
pub fn plain_json(text: &str) -> Cow<'_, str> {
    replace_python_numbers(text, |word| format!("\"{word}\""))
}

/// JSON as Python writes it, with what `stand_in` gives for each `NaN`, `Infinity` and `-Infinity`
/// outside of texts.
pub fn replace_python_numbers(text: &str, stand_in: impl Fn(&str) -> String) -> Cow<'_, str> {
    if !NOT_JSON[1..].iter().any(|word| text.contains(word)) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    let (mut rest, mut in_text) = (text, false);
    while let Some(first) = rest.chars().next() {
        let word = NOT_JSON.iter().find(|word| rest.starts_with(**word));
        let taken = match (in_text, first, word) {
            (false, _, Some(word)) => {
                plain.push_str(&stand_in(word));
                rest = &rest[word.len()..];
                continue;
            }
            // What follows a backslash ends no text, whatever it is.
            (true, '\\', _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => first.len_utf8(),
        };
        in_text ^= first == '"';
        plain.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    Cow::Owned(plain)
}

/// The content of a file of settings that is not larger than `limit` and was downloaded.
///
/// # Errors
/// A file that cannot be read, is larger, or is a pointer of Git LFS or a web page.
pub fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let io = InputError::io(path);
    let file = File::open(path).map_err(&io)?;
    let len = file.metadata().map_err(&io)?.len();
    let mut bytes = Vec::new();
    if len <= limit {
        // A device or a file that grows has more than it says.
        file.take(limit + 1).read_to_end(&mut bytes).map_err(&io)?;
    }
    let len = len.max(bytes.len() as u64);
    if len > limit {
        let message =
            format!("has {len} bytes or more, over the limit of {limit} for a configuration");
        return Err(InputError::unusable(path, message));
    }
    match LookAlike::of(&bytes) {
        Some(look_alike) => Err(InputError::unusable(path, look_alike.message())),
        None => Ok(bytes),
    }
}

/// The text of a JSON file, as [`read_small`] and [`plain_json`] give it.
///
/// # Errors
/// As [`read_small`]; a file that is no UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let text = String::from_utf8(read_small(path, limit)?)
        .map_err(|error| InputError::unusable(path, format!("is no UTF-8 text: {error}")))?;
    Ok(match plain_json(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(plain) => plain,
    })
}

/// The object that a JSON file holds, read as [`read_text`] does.
///
/// # Errors
/// As [`read_text`]; a file that is no JSON, or none that holds an object.
pub fn read_object(path: &Path, limit: u64) -> Result<Map<String, Value>> {
    match serde_json::from_str(&read_text(path, limit)?) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(InputError::unusable(path, "is not a JSON object")),
        Err(error) => Err(InputError::unusable(
            path,
            format!("is not valid JSON: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        serde_json::from_str(&plain_json(text)).unwrap()
    }

    #[test]
    fn numbers_of_python_become_texts() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity,1], "c": 2}"#;
        assert_eq!(
            read(text),
            json!({"a": "NaN", "b": ["-Infinity", "Infinity", 1], "c": 2})
        );
        assert_eq!(
            replace_python_numbers(text, |_| "null".to_owned()),
            r#"{"a": null, "b": [null, null,1], "c": 2}"#
        );
    }

    #[test]
    fn texts_stay_as_they_are() {
        let text = r#"{"NaN": "a \" NaN \\", "é\u00e9": "Infinity", "x": NaN}"#;
        assert_eq!(
            read(text),
            json!({"NaN": "a \" NaN \\", "éé": "Infinity", "x": "NaN"})
        );
        assert!(matches!(plain_json(r#"{"a": 1}"#), Cow::Borrowed(_)));
        // Not JSON, and no reason to stop: an escape at the very end.
        assert_eq!(plain_json("\"NaN\\"), "\"NaN\\");
    }

    /// A device says that it has no bytes and was read until the memory was full.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_with_more_than_it_says_is_refused() {
        // Has some 1500 bytes and says 0.
        let path = Path::new("/proc/self/status");
        assert!(read_small(path, 1 << 20).is_ok());
        let error = read_small(path, 100).unwrap_err().to_string();
        assert!(error.contains("over the limit of 100"), "{error}");
    }
}
