//! A tokenizer.json description made from `vocab.json`, `merges.txt` and `added_tokens.json`.
//!
//! The rules of each class are those of [`super::class`]: what the families' reference classes
//! build for the same files.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::class::Class;
use super::error::TextError;
use super::folder::{Folder, VOCABULARY_LIMIT, read_json, read_text, token_content};

/// Builds the description for the folder's tokenizer class.
///
/// # Errors
/// [`TextError::NoTokenizer`] when the files are absent; [`TextError::Malformed`] for a class whose
/// pipeline is not known here.
pub(super) fn describe(folder: &Folder) -> Result<Value, TextError> {
    let path = folder.dir.join("vocab.json");
    let merges_path = folder.dir.join("merges.txt");
    let (Some(vocab), Some(merges)) = (
        read_json(&path, VOCABULARY_LIMIT)?,
        read_text(&merges_path, VOCABULARY_LIMIT)?,
    ) else {
        let path = folder.dir.join("tokenizer.model");
        return Err(match path.exists() {
            true => TextError::Malformed {
                path,
                detail: "a SentencePiece model by itself is not read (hint: transformers writes a tokenizer.json for it: \
                         AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER))"
                    .into(),
            },
            false => TextError::NoTokenizer(folder.dir.clone()),
        });
    };
    let class = Class::of(folder, None);
    let rules = class.rules(folder).ok_or_else(|| TextError::Malformed {
        path: folder.dir.join("tokenizer_config.json"),
        detail: format!(
            "tokenizer_class {:?}: vocab.json and merges.txt can be read for DreamTokenizer, Qwen2Tokenizer and GPT2Tokenizer \
             (hint: a tokenizer.json in the same folder works for every class)",
            class.name()
        ),
    })?;
    let mut model = rules.model;
    model.insert("vocab".into(), vocab);
    model.insert("merges".into(), json!(merge_lines(&merges)));
    Ok(json!({
        "version": "1.0",
        "added_tokens": added_tokens(folder)?,
        "normalizer": rules.normalizer,
        "pre_tokenizer": rules.pre_tokenizer,
        "post_processor": null,
        "decoder": rules.decoder,
        "model": model,
    }))
}

/// The merge rules in order; a first line `#version…` is not one, though later lines may begin with
/// `#`.
fn merge_lines(text: &str) -> Vec<&str> {
    let skip = usize::from(text.starts_with("#version"));
    text.lines()
        .skip(skip)
        .map(|line| line.trim_end_matches('\r'))
        .filter(|line| !line.is_empty())
        .collect()
}

/// Added tokens by id: `added_tokens_decoder` of tokenizer_config.json with its flags; ids only in
/// `added_tokens.json` are special when a named token of the folder is spelled like them.
fn added_tokens(folder: &Folder) -> Result<Vec<Value>, TextError> {
    let mut by_id: BTreeMap<u64, Value> = BTreeMap::new();
    let path = folder.dir.join("tokenizer_config.json");
    let bad = |detail: String| TextError::Malformed {
        path: path.clone(),
        detail,
    };
    if let Some(Value::Object(decoder)) = folder.tokenizer_config.get("added_tokens_decoder") {
        for (key, token) in decoder {
            let id: u64 = key.parse().map_err(|_| {
                bad(format!(
                    "added_tokens_decoder: key {key:?} is not a token id"
                ))
            })?;
            let content = token_content(token)
                .ok_or_else(|| bad(format!("added_tokens_decoder.{key}: no content")))?;
            let flag = |name: &str| token.get(name).and_then(Value::as_bool);
            by_id.insert(id, entry(id, content, flag));
        }
    }
    let path = folder.dir.join("added_tokens.json");
    if let Some(Value::Object(extra)) = read_json(&path, super::folder::SETTINGS_LIMIT)? {
        for (content, id) in &extra {
            let id = id.as_u64().ok_or_else(|| TextError::Malformed {
                path: path.clone(),
                detail: format!("{content:?}: {id} is not a token id"),
            })?;
            match by_id
                .get(&id)
                .and_then(|known| known.get("content"))
                .and_then(Value::as_str)
            {
                Some(known) if known != content => {
                    let detail = format!(
                        "id {id} is {content:?} here and {known:?} in tokenizer_config.json"
                    );
                    return Err(TextError::Malformed { path, detail });
                }
                Some(_) => {}
                None => {
                    let special = super::special::is_named(folder, content);
                    by_id.insert(
                        id,
                        entry(id, content, |name| (name == "special").then_some(special)),
                    );
                }
            }
        }
    }
    Ok(by_id.into_values().collect())
}

/// A token of the description. Where no file says otherwise it is normalised unless it is special,
/// as in the reference.
fn entry(id: u64, content: &str, flag: impl Fn(&str) -> Option<bool>) -> Value {
    let mut token = Map::new();
    token.insert("id".into(), id.into());
    token.insert("content".into(), content.into());
    let special = flag("special").unwrap_or(false);
    for name in ["single_word", "lstrip", "rstrip", "normalized", "special"] {
        let default = name == "normalized" && !special;
        token.insert(name.into(), flag(name).unwrap_or(default).into());
    }
    Value::Object(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_of_hash_signs_is_kept() {
        assert_eq!(merge_lines("#version: 0.2\r\nĠ a\n# #\n\n"), ["Ġ a", "# #"]);
        assert_eq!(merge_lines("# #\nĠ a"), ["# #", "Ġ a"]);
    }
}
