//! The tokens a model treats specially, and whether they are the ones its tokenizer knows.

use serde_json::Value;

use super::error::TextError;
use super::folder::{Folder, token_content};
use crate::plugin::ModelInfo;

/// Names under which tokenizer_config.json and special_tokens_map.json give single tokens.
const NAMES: [&str; 8] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
    "gmask_token",
];

/// Ids of the named tokens, as the tokenizer's own files give them; the mask id is the model's (see
/// [`SpecialTokens::mask`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// `bos_token`.
    pub bos: Option<u32>,
    /// `eos_token`.
    pub eos: Option<u32>,
    /// `pad_token`.
    pub pad: Option<u32>,
    /// `mask_token_id` of config.json when it has one, else `mask_token` of the tokenizer.
    pub mask: Option<u32>,
}

/// The ids a model expects, from its adapter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectedIds {
    /// Rows of the embedding: every id of the tokenizer is below it.
    pub vocab_size: usize,
    /// The mask token of a masked-diffusion model.
    pub mask_token_id: Option<i64>,
    /// The model's adapter or family, for the message.
    pub family: String,
}

impl From<&ModelInfo> for ExpectedIds {
    fn from(info: &ModelInfo) -> Self {
        Self {
            vocab_size: info.vocab_size,
            mask_token_id: info.mask_token_id,
            family: info.family.clone(),
        }
    }
}

/// Whether any named or additional special token is spelled `content`.
pub(super) fn is_named(folder: &Folder, content: &str) -> bool {
    let files = [
        Some(&folder.tokenizer_config),
        folder.special_tokens_map.as_ref(),
    ];
    files
        .into_iter()
        .flatten()
        .any(|file| spelled_in(file).any(|token| token == content))
}

/// The spellings that the slow reference class leaves out of decoded text: those of
/// special_tokens_map.json, else of tokenizer_config.json.
pub(super) fn slow_special(folder: &Folder) -> Vec<&str> {
    spelled_in(
        folder
            .special_tokens_map
            .as_ref()
            .unwrap_or(&folder.tokenizer_config),
    )
    .collect()
}

fn spelled_in(file: &Value) -> impl Iterator<Item = &str> {
    let single = NAMES
        .iter()
        .filter_map(|name| file.get(*name).and_then(token_content));
    let several = file
        .get("additional_special_tokens")
        .and_then(Value::as_array);
    single.chain(several.into_iter().flatten().filter_map(token_content))
}

/// Compares the tokenizer of `folder` with the model. `mask_token` is the spelling of its mask
/// token, `id_of` maps a spelling to its id, `token_of` an id to its spelling and to whether it is
/// an added token.
///
/// # Errors
/// [`TextError::WrongModel`] when the model's mask id is no token of the tokenizer, is an ordinary
/// word piece, or differs from `mask_token`.
pub(super) fn check_mask(
    folder: &Folder,
    expected: u64,
    family: &str,
    mask_token: Option<&str>,
    id_of: impl Fn(&str) -> Option<u32>,
    token_of: impl Fn(u32) -> Option<(String, bool)>,
) -> Result<(), TextError> {
    let wrong = |detail: String| TextError::WrongModel {
        path: folder.dir.clone(),
        detail,
    };
    let of = if family.is_empty() {
        "the model".to_owned()
    } else {
        family.to_owned()
    };
    if let Some(name) = mask_token {
        let found =
            id_of(name).map_or("absent from the vocabulary".to_owned(), |id| id.to_string());
        if id_of(name).map(u64::from) != Some(expected) {
            return Err(wrong(format!(
                "mask id expected {expected} for {of}, the tokenizer's mask_token {name:?} is {found}"
            )));
        }
    }
    match u32::try_from(expected).ok().and_then(&token_of) {
        None => Err(wrong(format!(
            "mask id expected {expected} for {of}, the tokenizer has no token with that id"
        ))),
        Some((token, false)) => Err(wrong(format!(
            "mask id expected {expected} for {of}, that id is the ordinary token {token:?}"
        ))),
        Some((_, true)) => Ok(()),
    }
}
