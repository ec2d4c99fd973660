//! Tokens that the files of a folder bring beside tokenizer.json, joined as the reference joins
//! them.
//!
//! Three things bring tokens: a list by id (`added_tokens_decoder` of tokenizer_config.json, or,
//! where it has none, added_tokens.json and tokenizer.json), names (`bos_token` and the like, of
//! tokenizer_config.json and, without that list, of special_tokens_map.json), and more special
//! tokens (`extra_special_tokens`, formerly `additional_special_tokens`). What the vocabulary lacks
//! is put behind it, in this order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tokenizers::{AddedToken, Tokenizer};

use super::class::Class;
use super::error::TextError;
use super::folder::{Folder, SETTINGS_LIMIT, read_json, token_content};
use super::limits::TokenizerLimits;

/// Names of single tokens, in the order in which the reference adds them.
const NAMES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// The tokens of a folder.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Named tokens: those of [`NAMES`], then those that only this folder's files name.
    pub named: Vec<(String, AddedToken)>,
    /// Special tokens without a name.
    extra: Vec<AddedToken>,
    /// Tokens by the id that a file gives them.
    by_id: BTreeMap<u64, AddedToken>,
}

impl Tokens {
    /// Joins the files of `folder`; `description` is its tokenizer.json, `class` what reads it.
    ///
    /// # Errors
    /// [`TextError::Malformed`] with the file and the entry that is no token.
    pub fn read(
        folder: &Folder,
        class: &Class,
        description: Option<&Value>,
        limits: &TokenizerLimits,
    ) -> Result<Self, TextError> {
        let empty = Map::new();
        let mut settings = folder
            .tokenizer_config
            .as_object()
            .unwrap_or(&empty)
            .clone();
        let is_given = |value: Option<&Value>| match value {
            None | Some(Value::Null) => false,
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(items)) => !items.is_empty(),
            Some(_) => true,
        };
        if !is_given(settings.get("extra_special_tokens"))
            && let Some(tokens) = settings.remove("additional_special_tokens")
        {
            settings.insert("extra_special_tokens".into(), tokens);
        }
        let mut by_id = BTreeMap::new();
        if let Some(Value::Object(list)) = settings.get("added_tokens_decoder") {
            let path = folder.dir.join("tokenizer_config.json");
            for (id, token) in list {
                let entry = format!("added_tokens_decoder: {id:?}");
                let id = id.parse().ok();
                by_id.extend([numbered(id, token, &entry).map_err(malformed(&path))?]);
            }
        } else {
            join_map(&mut settings, folder);
            by_id = listed(folder, &settings, description)?;
        }
        let mut named: Vec<(String, AddedToken)> = Vec::new();
        let defaults: BTreeMap<&str, &str> = class.default_tokens().iter().copied().collect();
        for name in NAMES {
            let token = match (settings.get(name), defaults.get(name)) {
                (Some(value), _) => token_of(value, true),
                (None, Some(content)) => Some(AddedToken::from(*content, true)),
                (None, None) => None,
            };
            // The list says more of a token than its name does.
            let in_list = |token: &AddedToken| {
                let same = |listed: &&AddedToken| listed.content == token.content;
                by_id.values().find(same).cloned()
            };
            named.extend(token.map(|token| (name.into(), in_list(&token).unwrap_or(token))));
        }
        let own = settings.iter().filter(|(name, value)| {
            name.ends_with("_token") && !NAMES.contains(&name.as_str()) && value.is_string()
        });
        let mut extra = Vec::new();
        let (more, list) = match settings.get("extra_special_tokens") {
            Some(Value::Object(more)) => (Some(more), None),
            Some(Value::Array(list)) => (None, Some(list)),
            _ => (None, None),
        };
        for (name, value) in own.chain(more.into_iter().flatten()) {
            named.extend(token_of(value, true).map(|token| (name.clone(), token)));
        }
        extra.extend(
            list.into_iter()
                .flatten()
                .filter_map(|value| token_of(value, true)),
        );
        let tokens = Self {
            named,
            extra,
            by_id,
        };
        tokens
            .check(limits)
            .map_err(malformed(&folder.dir.join("tokenizer_config.json")))?;
        Ok(tokens)
    }

    fn all(&self) -> impl Iterator<Item = &AddedToken> {
        let named = self.named.iter().map(|(_, token)| token);
        self.by_id.values().chain(named).chain(&self.extra)
    }

    fn check(&self, limits: &TokenizerLimits) -> Result<(), String> {
        let n = self.all().count();
        if n > limits.max_added {
            return Err(format!(
                "{n} added tokens, the limit is {}",
                limits.max_added
            ));
        }
        match self
            .all()
            .find(|token| token.content.len() > limits.max_token_bytes)
        {
            Some(token) => Err(format!(
                "an added token of {} bytes, the limit is {}",
                token.content.len(),
                limits.max_token_bytes
            )),
            None => Ok(()),
        }
    }

    pub fn named(&self, name: &str) -> Option<&str> {
        let found = self.named.iter().find(|(known, _)| known == name);
        found.map(|(_, token)| token.content.as_str())
    }

    /// Puts into `tokenizer` what it lacks, and the flags that the list gives tokens it has.
    /// Returns what a person should know: files that contradict each other.
    ///
    /// # Errors
    /// The library's reason.
    pub fn add_to(
        &self,
        tokenizer: &mut Tokenizer,
        class: &Class,
    ) -> Result<Vec<String>, tokenizers::Error> {
        let known = tokenizer.get_added_tokens_decoder();
        let mut added: BTreeSet<String> = known.into_values().map(|token| token.content).collect();
        let mut new: Vec<AddedToken> = Vec::new();
        let mut push = |token: &AddedToken, is_always: bool| {
            if added.insert(token.content.clone()) || is_always {
                new.push(token.clone());
            }
        };
        self.by_id.values().for_each(|token| push(token, true));
        let rest = self.named.iter().map(|(_, token)| token).chain(&self.extra);
        rest.for_each(|token| push(token, false));
        for token in &mut new {
            token.special |= self
                .named
                .iter()
                .any(|(_, named)| named.content == token.content);
        }
        let changed = changed_flags(tokenizer, &new);
        tokenizer.add_tokens(new)?;
        if *class == Class::Qwen2 {
            // This class adds its special tokens once more, without their other flags.
            let named = self.named.iter().map(|(_, token)| token);
            let plain = |token: &AddedToken| AddedToken::from(token.content.clone(), true);
            let special: Vec<AddedToken> = named.chain(&self.extra).map(plain).collect();
            tokenizer.add_tokens(special)?;
        }
        Ok(changed
            .into_iter()
            .chain(self.renumbered(tokenizer))
            .collect())
    }

    /// Tokens with another id than a file gives them: the reference numbers added tokens itself.
    fn renumbered(&self, tokenizer: &Tokenizer) -> Option<String> {
        let differ = |(id, token): &(&u64, &AddedToken)| {
            let built = tokenizer.token_to_id(&token.content).map(u64::from);
            built != Some(**id) && !token.content.is_empty()
        };
        let (id, token) = self.by_id.iter().find(differ)?;
        let built = tokenizer.token_to_id(&token.content)?;
        let n = self.by_id.iter().filter(differ).count();
        Some(format!(
            "{n} added tokens have another id in their list than in the vocabulary, such as {:?}: {id} in the list, {built} in the \
             vocabulary; the vocabulary's are used, as in transformers",
            token.content
        ))
    }
}

/// Says which flags of tokens that are known change.
fn changed_flags(tokenizer: &Tokenizer, new: &[AddedToken]) -> Option<String> {
    let known: BTreeMap<String, AddedToken> = tokenizer
        .get_added_tokens_decoder()
        .into_values()
        .map(|token| (token.content.clone(), token))
        .collect();
    let flags = |t: &AddedToken| (t.special, t.lstrip, t.rstrip, t.single_word, t.normalized);
    let differ = |token: &&AddedToken| {
        let known = known.get(&token.content);
        known.is_some_and(|known| flags(known) != flags(token))
    };
    let first = new.iter().find(differ)?;
    let n = new.iter().filter(differ).count();
    Some(format!(
        "tokenizer.json and tokenizer_config.json give {n} added tokens different flags (special, lstrip, rstrip, single_word, \
         normalized), such as {:?}; those of tokenizer_config.json are used, as in transformers",
        first.content
    ))
}

/// special_tokens_map.json over the settings of tokenizer_config.json.
fn join_map(settings: &mut Map<String, Value>, folder: &Folder) {
    let map = folder
        .special_tokens_map
        .as_ref()
        .and_then(Value::as_object);
    for (name, value) in map.into_iter().flatten() {
        let is_list = name == "extra_special_tokens" || name == "additional_special_tokens";
        let joined = match (settings.get("extra_special_tokens"), value) {
            (Some(Value::Array(known)), Value::Array(more)) if is_list => {
                if name == "additional_special_tokens" {
                    continue;
                }
                let new = more.iter().filter(|token| !known.contains(token));
                Value::Array(known.iter().chain(new).cloned().collect())
            }
            _ => value.clone(),
        };
        let name = if is_list {
            "extra_special_tokens"
        } else {
            name
        };
        settings.insert(name.to_owned(), joined);
    }
}

/// Tokens of added_tokens.json and, over them, of tokenizer.json.
fn listed(
    folder: &Folder,
    settings: &Map<String, Value>,
    description: Option<&Value>,
) -> Result<BTreeMap<u64, AddedToken>, TextError> {
    let mut by_id = BTreeMap::new();
    let path = folder.dir.join("added_tokens.json");
    if let Some(Value::Object(list)) = read_json(&path, SETTINGS_LIMIT)? {
        let named = settings.values().filter_map(token_content);
        let more = settings
            .get("extra_special_tokens")
            .and_then(Value::as_array);
        let more = more.into_iter().flatten().filter_map(token_content);
        let special: BTreeSet<&str> = named.chain(more).collect();
        for (content, id) in &list {
            let id = id.as_u64();
            let id = id.ok_or_else(|| malformed(&path)(format!("{content:?} has no token id")))?;
            let token = AddedToken::from(content.clone(), special.contains(content.as_str()));
            by_id.insert(id, token);
        }
    }
    let path = folder.dir.join("tokenizer.json");
    let tokens = description.and_then(|file| file.get("added_tokens")?.as_array());
    for (i, token) in tokens.into_iter().flatten().enumerate() {
        let id = token.get("id").and_then(Value::as_u64);
        let entry = format!("added_tokens[{i}]");
        by_id.extend([numbered(id, token, &entry).map_err(malformed(&path))?]);
    }
    Ok(by_id)
}

fn numbered(id: Option<u64>, token: &Value, entry: &str) -> Result<(u64, AddedToken), String> {
    let id = id.ok_or_else(|| format!("{entry} is not a token id"))?;
    let token = token_of(token, false).ok_or_else(|| format!("{entry}: no content"))?;
    Ok((id, token))
}

fn malformed(path: &std::path::Path) -> impl Fn(String) -> TextError {
    let path = path.to_owned();
    move |detail| TextError::Malformed {
        path: path.clone(),
        detail,
    }
}

/// A token as files write it: its text, or an object with flags. An empty one is none.
fn token_of(value: &Value, special: bool) -> Option<AddedToken> {
    let content = token_content(value).filter(|content| !content.is_empty())?;
    let flag = |name: &str| value.get(name).and_then(Value::as_bool);
    let special = special || flag("special").unwrap_or(false);
    Some(AddedToken {
        content: content.to_owned(),
        single_word: flag("single_word").unwrap_or(false),
        lstrip: flag("lstrip").unwrap_or(false),
        rstrip: flag("rstrip").unwrap_or(false),
        normalized: flag("normalized").unwrap_or(!special),
        special,
    })
}
