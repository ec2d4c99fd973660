//! From the files of a folder to a tokenizer.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::{Value, json};
use tokenizers::Tokenizer;

use super::class::Class;
use super::error::TextError;
use super::folder::Folder;
use super::limits::{self, TokenizerLimits};
use super::parts;
use super::tokens::Tokens;

/// A tokenizer with what its files say of tokens.
pub(super) struct Built {
    pub tokenizer: Tokenizer,
    pub tokens: Tokens,
    /// Ids of special tokens: once special, a token stays so, whatever another file says.
    pub special: HashSet<u32>,
    /// Where the files contradict each other.
    pub notes: Vec<String>,
}

/// Builds the tokenizer that the reference makes of `folder`; `file` is its tokenizer.json.
///
/// # Errors
/// [`TextError`] naming the file and the entry.
pub(super) fn build(
    folder: &Folder,
    file: Option<Value>,
    class: &Class,
    limits: &TokenizerLimits,
) -> Result<Built, TextError> {
    let is_file = file.is_some();
    let (path, mut description) = match file {
        Some(value) => (folder.dir.join("tokenizer.json"), value),
        None => (folder.dir.join("vocab.json"), parts::describe(folder)?),
    };
    limits::check(&mut description, limits, &path)?;
    let listed = Some(&description).filter(|_| is_file);
    let tokens = Tokens::read(folder, class, listed, limits)?;
    let in_file = description.get("added_tokens").cloned();
    let mut notes: Vec<String> = Vec::new();
    if is_file {
        notes.extend(follow_class(folder, class, &mut description));
        notes.extend(prefix_space(folder, class, &description));
    }
    let mut tokenizer = of_description(&description, &path)?;
    let bad = |error: tokenizers::Error| TextError::Malformed {
        path: folder.dir.join("tokenizer_config.json"),
        detail: format!("its tokens cannot be added: {error}"),
    };
    let mut special = special_ids(&tokenizer);
    notes.extend(tokens.add_to(&mut tokenizer, class).map_err(bad)?);
    special.extend(special_ids(&tokenizer));
    tokenizer.set_encode_special_tokens(folder.flag("split_special_tokens") == Some(true));
    notes.extend(lost_tokens(in_file.as_ref(), &tokenizer));
    if is_file {
        notes.extend(around_text(folder, &tokenizer));
    } else if !folder.has_own_class() {
        put_around(folder, &mut tokenizer, &tokens, &path)?;
    }
    Ok(Built {
        tokenizer,
        tokens,
        special,
        notes,
    })
}

fn special_ids(tokenizer: &Tokenizer) -> HashSet<u32> {
    let added = tokenizer.get_added_tokens_decoder().into_iter();
    let special = added.filter(|(_, token)| token.special);
    special.map(|(id, _)| id).collect()
}

/// Lets the class decide what it decides, and says so where the file reads otherwise.
fn follow_class(folder: &Folder, class: &Class, description: &mut Value) -> Option<String> {
    if let Class::Unknown(name) = class {
        return Some(format!(
            "the rules of tokenizer class {name} are not known here; tokenizer.json is followed"
        ));
    }
    let differing = class.rules(folder)?.replace(description)?;
    if differing.is_empty() {
        return None;
    }
    Some(format!(
        "transformers 5 cuts text by the rules of {}, whatever tokenizer.json says, and so it is done here; the file differs in: {}. \
         transformers 4 follows the file",
        class.name(),
        differing.join(", ")
    ))
}

/// `add_prefix_space` counts for classes with rules of their own; elsewhere tokenizer.json decides.
fn prefix_space(folder: &Folder, class: &Class, description: &Value) -> Option<String> {
    let said = folder.flag("add_prefix_space")?;
    let own = class.rules(folder).is_some() && description["model"]["type"] == "BPE";
    let found = find_flag(description.get("pre_tokenizer")?)?;
    (!own && said != found).then(|| {
        format!(
            "tokenizer_config.json says add_prefix_space {said}, tokenizer.json {found}; transformers 5 follows tokenizer.json, and so it \
             is done here, transformers 4 follows tokenizer_config.json"
        )
    })
}

/// Whether a blank is put in front of the text, where the pre-tokenizer says.
fn find_flag(part: &Value) -> Option<bool> {
    let parts = part.get("pretokenizers").and_then(Value::as_array);
    let own = part.get("add_prefix_space").and_then(Value::as_bool);
    let scheme = part.get("prepend_scheme").and_then(Value::as_str);
    own.or(scheme.map(|scheme| scheme != "never"))
        .or_else(|| parts?.iter().find_map(find_flag))
}

/// Tokens of tokenizer.json that are no tokens of their own in the tokenizer that was built.
fn lost_tokens(in_file: Option<&Value>, tokenizer: &Tokenizer) -> Option<String> {
    let added = tokenizer.get_added_tokens_decoder();
    let known: HashSet<&str> = added.values().map(|token| token.content.as_str()).collect();
    let lost: Vec<&str> = (in_file?.as_array()?.iter())
        .filter_map(|token| token["content"].as_str())
        .filter(|content| !content.is_empty() && !known.contains(content))
        .collect();
    let first = lost.first()?;
    Some(format!(
        "{} added tokens of tokenizer.json, such as {first:?}, are not in added_tokens_decoder of tokenizer_config.json, and are read as \
         ordinary text, as in transformers 5",
        lost.len()
    ))
}

/// Says where `add_bos_token` or `add_eos_token` is not what tokenizer.json does.
fn around_text(folder: &Folder, tokenizer: &Tokenizer) -> Vec<String> {
    let ids = |special| {
        let encoding = tokenizer.encode_fast("a", special);
        encoding
            .map(|encoding| encoding.get_ids().to_vec())
            .unwrap_or_default()
    };
    let (plain, whole) = (ids(false), ids(true));
    let more = whole.len().saturating_sub(plain.len());
    let before = (0..=more)
        .find(|at| whole[*at..].starts_with(&plain))
        .unwrap_or(0);
    let done = [("add_bos_token", before), ("add_eos_token", more - before)];
    let note = |(setting, n): (&str, usize)| {
        let said = folder.flag(setting).filter(|said| *said != (n > 0))?;
        let does = if n > 0 {
            "puts one there"
        } else {
            "puts none there"
        };
        Some(format!(
            "tokenizer_config.json says {setting} {said}, but tokenizer.json {does}; transformers 5 follows tokenizer.json, and so it is \
             done here, transformers 4 may follow {setting}"
        ))
    };
    done.into_iter().filter_map(note).collect()
}

/// Without tokenizer.json, `add_bos_token` and `add_eos_token` count.
fn put_around(
    folder: &Folder,
    tokenizer: &mut Tokenizer,
    tokens: &Tokens,
    path: &Path,
) -> Result<(), TextError> {
    let wanted = |setting: &str, name: &str| {
        let content = tokens
            .named(name)
            .filter(|_| folder.flag(setting) == Some(true))?;
        Some((content.to_owned(), tokenizer.token_to_id(content)?))
    };
    let bos = wanted("add_bos_token", "bos_token");
    let eos = wanted("add_eos_token", "eos_token");
    if bos.is_none() && eos.is_none() {
        return Ok(());
    }
    let token =
        |(content, _): &(String, u32)| json!({"SpecialToken": {"id": content, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let single: Vec<Value> = (bos.iter().map(token))
        .chain([text])
        .chain(eos.iter().map(token))
        .collect();
    let ids: serde_json::Map<String, Value> = (bos.iter().chain(&eos))
        .map(|(content, id)| {
            (
                content.clone(),
                json!({"id": content, "ids": [id], "tokens": [content]}),
            )
        })
        .collect();
    let processor = json!({
        "type": "TemplateProcessing", "single": single, "special_tokens": ids,
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    });
    let processor = serde_json::from_value(processor).map_err(|error| TextError::Malformed {
        path: path.to_owned(),
        detail: format!("the begin and end tokens cannot be put around a text: {error}"),
    })?;
    tokenizer.with_post_processor(Some::<tokenizers::PostProcessorWrapper>(processor));
    Ok(())
}

fn of_description(description: &Value, path: &Path) -> Result<Tokenizer, TextError> {
    let bytes = description.to_string().into_bytes();
    let bad = |detail: String| TextError::Malformed {
        path: path.to_owned(),
        detail,
    };
    // What the checks let through may still meet a panic of the library; it must not take the
    // worker with it.
    let tokenizer = match catch_unwind(AssertUnwindSafe(|| Tokenizer::from_bytes(&bytes))) {
        Ok(Ok(tokenizer)) => tokenizer,
        Ok(Err(error)) => return Err(bad(format!("not a usable tokenizer: {error}"))),
        Err(_) => {
            return Err(bad(
                "not a usable tokenizer: the tokenizer library panicked on it".into(),
            ));
        }
    };
    // The library numbers added tokens itself, after the vocabulary, and ignores the id a file with
    // gaps gives.
    for token in description
        .get("added_tokens")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let (content, id) = (
            token["content"].as_str().unwrap_or_default(),
            token["id"].as_u64(),
        );
        let built = tokenizer.token_to_id(content).map(u64::from);
        if built != id {
            let shown = |id: Option<u64>| id.map_or("none".to_owned(), |id| id.to_string());
            return Err(bad(format!(
                "added token {content:?} has id {} in the file and {} once built: added ids must follow the vocabulary without gaps",
                shown(id),
                shown(built)
            )));
        }
    }
    Ok(tokenizer)
}
