//! Checks on a tokenizer description before anything is built from it.
//!
//! The tokenizer library panics on a regular expression it cannot compile and aborts on a padding
//! length it cannot allocate, so both are looked at here; padding and truncation are dropped,
//! because batches are padded by the engine.

use std::path::Path;

use serde_json::Value;
use tokenizers::utils::SysRegex;

use super::error::TextError;

/// Bounds on a tokenizer description; the defaults are far above every published one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizerLimits {
    /// Token ids must be below this: the model's vocabulary where it is known.
    pub max_id: u64,
    /// Entries of the vocabulary.
    pub max_vocab: usize,
    pub max_merges: usize,
    pub max_added: usize,
    /// Bytes of one token's spelling.
    pub max_token_bytes: usize,
    /// Bytes of one regular expression.
    pub max_regex_bytes: usize,
}

impl Default for TokenizerLimits {
    fn default() -> Self {
        Self {
            max_id: 1 << 24,
            max_vocab: 2_000_000,
            max_merges: 4_000_000,
            max_added: 100_000,
            max_token_bytes: 65_536,
            max_regex_bytes: 4_096,
        }
    }
}

impl TokenizerLimits {
    /// Checks a tokenizer.json that is in memory, as that of a folder is before anything is built
    /// from it. `path` names it.
    ///
    /// # Errors
    /// [`TextError::NotJson`], [`TextError::Malformed`] naming the entry and the limit.
    pub fn check(&self, path: &Path, bytes: &[u8]) -> Result<(), TextError> {
        let mut tokenizer = serde_json::from_slice(bytes).map_err(|error| TextError::NotJson {
            path: path.to_owned(),
            detail: format!("not JSON: {error}"),
        })?;
        check(&mut tokenizer, self, path)
    }
}

/// Checks `tokenizer` (the content of tokenizer.json) and drops its padding and truncation.
///
/// # Errors
/// [`TextError::Malformed`] naming the entry and the limit.
pub(super) fn check(
    tokenizer: &mut Value,
    limits: &TokenizerLimits,
    path: &Path,
) -> Result<(), TextError> {
    let bad = |detail: String| TextError::Malformed {
        path: path.to_owned(),
        detail,
    };
    let Some(object) = tokenizer.as_object_mut() else {
        return Err(bad("not a tokenizer: the file is no JSON object".into()));
    };
    match object
        .get("version")
        .map(|v| v.as_str().unwrap_or("(not a string)"))
    {
        Some("1.0") => {}
        Some(version) => {
            return Err(bad(format!(
                "version {version:?} is not known here, \"1.0\" is"
            )));
        }
        None => {
            return Err(bad(
                "no version: this is not a tokenizer.json of the tokenizers library".into(),
            ));
        }
    }
    object.insert("padding".into(), Value::Null);
    object.insert("truncation".into(), Value::Null);
    check_model(object.get("model").unwrap_or(&Value::Null), limits).map_err(bad)?;
    check_added(object.get("added_tokens").unwrap_or(&Value::Null), limits).map_err(bad)?;
    for part in ["normalizer", "pre_tokenizer", "post_processor", "decoder"] {
        if let Some(value) = object.get(part) {
            check_part(value, part, limits, 0).map_err(bad)?;
        }
    }
    Ok(())
}

fn check_model(model: &Value, limits: &TokenizerLimits) -> Result<(), String> {
    let Some(model) = model.as_object() else {
        return Err("no model section".into());
    };
    let vocab = model.get("vocab");
    match model.get("type").and_then(Value::as_str).unwrap_or("BPE") {
        "BPE" => check_merges(model.get("merges"), check_vocab(vocab, limits)?, limits),
        "WordPiece" | "WordLevel" => check_vocab(vocab, limits).map(drop),
        "Unigram" => check_scores(vocab, model.get("unk_id"), limits),
        kind => Err(format!(
            "model type {kind:?}: BPE, Unigram, WordPiece and WordLevel are read, nothing else"
        )),
    }
}

/// A vocabulary of spellings with ids.
fn check_vocab<'a>(
    vocab: Option<&'a Value>,
    limits: &TokenizerLimits,
) -> Result<&'a serde_json::Map<String, Value>, String> {
    let Some(Value::Object(vocab)) = vocab else {
        return Err("model.vocab is no object of token to id".into());
    };
    check_vocab_len(vocab.len(), limits)?;
    for (token, id) in vocab {
        check_id(token, id, limits)?;
    }
    Ok(vocab)
}

fn check_vocab_len(n: usize, limits: &TokenizerLimits) -> Result<(), String> {
    if n > limits.max_vocab {
        return Err(format!(
            "model.vocab has {n} entries, the limit is {}",
            limits.max_vocab
        ));
    }
    Ok(())
}

/// The vocabulary of Unigram: spellings with their log probabilities, numbered by their places.
fn check_scores(
    vocab: Option<&Value>,
    unk_id: Option<&Value>,
    limits: &TokenizerLimits,
) -> Result<(), String> {
    let Some(Value::Array(vocab)) = vocab else {
        return Err("model.vocab is no list of pairs of token and score".into());
    };
    check_vocab_len(vocab.len(), limits)?;
    for (id, entry) in vocab.iter().enumerate() {
        match entry.as_array().map(Vec::as_slice) {
            Some([Value::String(token), Value::Number(_)]) => {
                check_id(token, &Value::from(id), limits)?;
            }
            _ => {
                return Err(format!(
                    "model.vocab[{id}]: {entry} is no pair of token and score"
                ));
            }
        }
    }
    match unk_id.filter(|id| !id.is_null()) {
        Some(id) if id.as_u64().is_none_or(|id| id >= vocab.len() as u64) => Err(format!(
            "model.unk_id is {id}, the vocabulary has {} tokens",
            vocab.len()
        )),
        _ => Ok(()),
    }
}

fn check_merges(
    merges: Option<&Value>,
    vocab: &serde_json::Map<String, Value>,
    limits: &TokenizerLimits,
) -> Result<(), String> {
    let Some(merges) = merges else {
        return Ok(());
    };
    let Some(merges) = merges.as_array() else {
        return Err("model.merges is no list".into());
    };
    if merges.len() > limits.max_merges {
        return Err(format!(
            "model.merges has {} rules, the limit is {}",
            merges.len(),
            limits.max_merges
        ));
    }
    for (i, merge) in merges.iter().enumerate() {
        let [left, right] = split_merge(merge)
            .ok_or_else(|| format!("model.merges[{i}]: {merge} is no pair of tokens"))?;
        let joined = format!("{left}{right}");
        if let Some(missing) = [left, right, &joined]
            .into_iter()
            .find(|token| !vocab.contains_key(*token))
        {
            return Err(format!(
                "model.merges[{i}]: token {missing:?} is not in the vocabulary"
            ));
        }
    }
    Ok(())
}

/// Merge rules come as `"a b"` (older files) or `["a", "b"]`.
fn split_merge(merge: &Value) -> Option<[&str; 2]> {
    match merge {
        Value::String(line) => line
            .split_once(' ')
            .filter(|(_, right)| !right.contains(' '))
            .map(|(left, right)| [left, right]),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(left), Value::String(right)] => Some([left, right]),
            _ => None,
        },
        _ => None,
    }
}

fn check_id(token: &str, id: &Value, limits: &TokenizerLimits) -> Result<(), String> {
    let shown: String = token.chars().take(40).collect();
    if token.len() > limits.max_token_bytes {
        return Err(format!(
            "token {shown:?}…: {} bytes, the limit is {}",
            token.len(),
            limits.max_token_bytes
        ));
    }
    match id.as_u64() {
        Some(id) if id < limits.max_id => Ok(()),
        Some(id) => Err(format!(
            "token {shown:?}: id {id} is not below the limit {} (the model's vocabulary)",
            limits.max_id
        )),
        None => Err(format!("token {shown:?}: {id} is not a token id")),
    }
}

fn check_added(added: &Value, limits: &TokenizerLimits) -> Result<(), String> {
    let tokens = match added {
        Value::Null => return Ok(()),
        Value::Array(tokens) => tokens,
        _ => return Err("added_tokens is no list".into()),
    };
    if tokens.len() > limits.max_added {
        return Err(format!(
            "added_tokens has {} entries, the limit is {}",
            tokens.len(),
            limits.max_added
        ));
    }
    for (i, token) in tokens.iter().enumerate() {
        let content = token
            .get("content")
            .and_then(Value::as_str)
            .ok_or_else(|| format!("added_tokens[{i}] has no content"))?;
        let id = token.get("id").unwrap_or(&Value::Null);
        // An added token may lie beyond the model: that matters once a text holds it.
        let is_possible = |id: u64| id < TokenizerLimits::default().max_id;
        let zero = Value::from(0);
        let is_possible = id.as_u64().is_some_and(is_possible);
        check_id(content, if is_possible { &zero } else { id }, limits)?;
    }
    Ok(())
}

/// Nesting of processors inside processors; real files have two levels.
const MAX_DEPTH: usize = 16;

/// Looks for numbers that become allocations and for regular expressions, wherever they stand in a
/// processor.
fn check_part(
    value: &Value,
    path: &str,
    limits: &TokenizerLimits,
    depth: usize,
) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("{path}: nested deeper than {MAX_DEPTH}"));
    }
    check_template(value, path)?;
    match value {
        Value::Object(object) => object.iter().try_for_each(|(key, inner)| {
            let path = format!("{path}.{key}");
            match (key.as_str(), inner) {
                ("Regex", Value::String(pattern)) => check_regex(pattern, &path, limits),
                ("ids", Value::Array(ids)) => {
                    ids.iter().try_for_each(|id| check_id(&path, id, limits))
                }
                _ => check_part(inner, &path, limits, depth + 1),
            }
        }),
        Value::Array(items) => items.iter().enumerate().try_for_each(|(i, inner)| {
            check_part(inner, &format!("{path}[{i}]"), limits, depth + 1)
        }),
        Value::Number(number)
            if number
                .as_f64()
                .is_some_and(|n| n.abs() >= limits.max_id as f64) =>
        {
            Err(format!(
                "{path}: {number} is not below the limit {}",
                limits.max_id
            ))
        }
        _ => Ok(()),
    }
}

/// A template may name only special tokens that it describes: the library panics on any other.
fn check_template(value: &Value, path: &str) -> Result<(), String> {
    let Some(known) = value.get("special_tokens") else {
        return Ok(());
    };
    for template in ["single", "pair"] {
        let pieces = value.get(template).and_then(Value::as_array);
        let ids = pieces.into_iter().flatten().filter_map(|piece| {
            let id = piece.pointer("/SpecialToken/id")?;
            id.as_str()
        });
        for id in ids {
            if known.get(id).is_none() {
                return Err(format!(
                    "{path}.{template}: names the special token {id:?}, which its special_tokens do not describe"
                ));
            }
        }
    }
    Ok(())
}

fn check_regex(pattern: &str, path: &str, limits: &TokenizerLimits) -> Result<(), String> {
    if pattern.len() > limits.max_regex_bytes {
        return Err(format!(
            "{path}: a regular expression of {} bytes, the limit is {}",
            pattern.len(),
            limits.max_regex_bytes
        ));
    }
    if let Some(at) = nested_repeat(pattern) {
        return Err(format!(
            "{path}: the regular expression repeats a repetition at byte {at}, which can take exponential time: {pattern:?}"
        ));
    }
    SysRegex::new(pattern).map(drop).map_err(|error| {
        format!("{path}: the regular expression {pattern:?} does not compile: {error}")
    })
}

/// Byte offset of an unbounded repeat applied to a group that itself ends in or consists of an
/// unbounded repeat, such as `(a+)+`.
///
/// It errs on the side of refusal: published pre-tokenizers repeat classes, never groups that
/// repeat.
fn nested_repeat(pattern: &str) -> Option<usize> {
    let bytes = pattern.as_bytes();
    let mut open: Vec<bool> = Vec::new(); // for each open group: holds an unbounded repeat
    let mut i = 0;
    let unbounded = |i: usize| match bytes.get(i) {
        Some(b'*' | b'+') => true,
        Some(b'{') => pattern[i..]
            .find('}')
            .is_some_and(|end| pattern[i..i + end].ends_with(',')),
        _ => false,
    };
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 1,
            b'[' => i = class_end(bytes, i),
            b'(' => open.push(false),
            b')' => {
                let inner = open.pop().unwrap_or(false);
                if inner && unbounded(i + 1) {
                    return Some(i + 1);
                }
                if let Some(outer) = open.last_mut() {
                    *outer |= inner;
                }
            }
            _ if unbounded(i) => {
                if let Some(group) = open.last_mut() {
                    *group = true;
                }
            }
            _ => {}
        }
        i += 1;
    }
    None
}

/// Index of the `]` that closes the class opened at `start`.
fn class_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0usize;
    let mut i = start;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 1,
            b'[' => depth += 1,
            b']' => {
                depth -= 1;
                if depth == 0 {
                    return i;
                }
            }
            _ => {}
        }
        i += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_checked_from_bytes_alone() {
        let check = |text: &str| {
            let limits = TokenizerLimits::default();
            let checked = limits.check(Path::new("t.json"), text.as_bytes());
            checked
                .err()
                .map_or_else(String::new, |error| error.to_string())
        };
        let sound = r#"{"version":"1.0","model":{"type":"BPE","vocab":{"a":0}}}"#;
        assert_eq!(check(sound), "");
        assert!(check(&sound[..9]).contains("t.json: not JSON"));
        assert!(check(&sound.replace(":0", ":4294967296")).contains("id 4294967296"));
        // A template that names a token of its own, and one that names another's.
        let template = |described: &str| {
            let processor = format!(
                r#""post_processor":{{"type":"TemplateProcessing","single":[{{"SpecialToken":{{"id":"a","type_id":0}}}}],"pair":[],"special_tokens":{{"{described}":{{"id":"{described}","ids":[0],"tokens":["a"]}}}}}},"model""#
            );
            check(&sound.replace("\"model\"", &processor))
        };
        assert_eq!(template("a"), "");
        assert!(template("b").contains("names the special token \"a\""));
    }

    #[test]
    fn nested_repeats_are_found_and_real_patterns_pass() {
        assert_eq!(nested_repeat("(a+)+$"), Some(4));
        assert!(nested_repeat("((?:ab*)c)*").is_some());
        assert!(nested_repeat(r"(\w{2,})*").is_some());
        let real = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        assert_eq!(nested_repeat(real), None);
        assert_eq!(nested_repeat(r"[(a+)]+\(b+\)*"), None);
    }
}
