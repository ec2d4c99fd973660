//! The tokenizer of one checkpoint.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tokenizers::{ModelWrapper, Tokenizer};

use super::build::{self, Built};
use super::chat::{ChatMessage, ChatTemplate};
use super::class::Class;
use super::error::TextError;
use super::folder::{Folder, VOCABULARY_LIMIT, read_json};
use super::limits::TokenizerLimits;
use super::pieces::Pieces;
use super::special::{self, ExpectedIds, SpecialTokens};
use super::tokens::Tokens;

const NO_TEMPLATE: &str = "the folder has none (hint: a base model; give plain text instead)";

/// Tokenizer and chat template of a checkpoint folder.
pub struct TextCodec {
    folder: Folder,
    tokenizer: Tokenizer,
    tokens: Tokens,
    special: SpecialTokens,
    /// Ids left out of text that is decoded without special tokens.
    hidden: HashSet<u32>,
    /// Whether decoded text loses the spaces before punctuation, as `clean_up_tokenization_spaces`
    /// asks.
    clean_up: bool,
    /// The chat template, or why no conversation can be rendered.
    chat: Result<ChatTemplate, String>,
    pub(super) pieces: Pieces,
    /// What a person should know of the folder: files that contradict each other.
    notes: Vec<String>,
}

impl TextCodec {
    /// Reads the tokenizer of the checkpoint folder `dir`.
    ///
    /// # Errors
    /// [`TextError`] naming the file: absent, not JSON, beyond a limit, or not belonging to the
    /// model's config.json.
    pub fn load(dir: &Path) -> Result<Self, TextError> {
        Self::load_with_limits(dir, TokenizerLimits::default())
    }

    /// As [`TextCodec::load`] with other limits; `max_id` is lowered to the model's vocabulary
    /// where config.json gives it.
    ///
    /// # Errors
    /// As [`TextCodec::load`].
    pub fn load_with_limits(dir: &Path, mut limits: TokenizerLimits) -> Result<Self, TextError> {
        let folder = Folder::open(dir)?;
        if let Some(rows) = folder.model_vocab_size() {
            limits.max_id = limits.max_id.min(rows);
        }
        let file = read_json(&dir.join("tokenizer.json"), VOCABULARY_LIMIT)?;
        let class = Class::of(&folder, file.as_ref());
        let Built {
            tokenizer,
            tokens,
            special: special_ids,
            mut notes,
        } = build::build(&folder, file, &class, &limits)?;
        let id = |name: &str| {
            let id = tokenizer.token_to_id(tokens.named(name)?)?;
            // An id that the model has no row for is of no use.
            Some(id).filter(|id| u64::from(*id) < limits.max_id)
        };
        let special = SpecialTokens {
            bos: id("bos_token"),
            eos: id("eos_token"),
            pad: id("pad_token"),
            mask: folder
                .model_mask_id()
                .and_then(|mask| u32::try_from(mask).ok())
                .or_else(|| id("mask_token")),
        };
        let chat = match ChatTemplate::find(&folder, &tokens) {
            Ok((chat, more)) => {
                notes.extend(more);
                chat.ok_or_else(|| NO_TEMPLATE.to_owned())
            }
            // Most work needs none.
            Err(TextError::Template { detail, .. }) => Err(detail),
            Err(other) => return Err(other),
        };
        let codec = Self {
            hidden: hidden_ids(&folder, &tokenizer, special_ids),
            pieces: Pieces::of(&tokenizer),
            clean_up: cleans_up(&folder, &tokenizer),
            folder,
            tokenizer,
            tokens,
            special,
            chat,
            notes,
        };
        if let Some(mask) = codec.folder.model_mask_id() {
            codec.check_mask(mask, "the config.json beside it")?;
        }
        Ok(codec)
    }

    /// What a person should know of the folder: where its files contradict each other, and what is
    /// done then.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let dir = self.folder.dir.display();
        self.notes.iter().map(move |note| format!("{dir}: {note}"))
    }

    /// The folder this was read from.
    pub fn dir(&self) -> &Path {
        &self.folder.dir
    }

    /// The named tokens' ids.
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// Number of tokens, added ones included.
    pub fn vocab_len(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The id of the token spelled `token`.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// The spelling of `id` in the vocabulary (bytes as printable characters, not text).
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// Ids that [`TextCodec::decode`] leaves out when asked to skip special tokens.
    pub fn is_special(&self, id: u32) -> bool {
        self.hidden.contains(&id)
    }

    /// Token ids of `text`; with `add_special` also what the family puts around a text (LLaMA's
    /// begin token).
    ///
    /// # Errors
    /// [`TextError::Coding`] with the tokenizer's reason.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TextError> {
        // The regular-expression engine panics when a pattern runs over its step limit on this
        // text.
        let run = AssertUnwindSafe(|| self.tokenizer.encode_fast(text, add_special));
        match catch_unwind(run) {
            Ok(Ok(encoding)) => self.within_model(encoding.get_ids().to_vec()),
            Ok(Err(error)) => Err(self.coding(error.to_string())),
            Err(_) => Err(self.coding(format!(
                "the tokenizer panicked on a text of {} bytes",
                text.len()
            ))),
        }
    }

    /// Refuses ids that the model has no row for: tokens that files beside tokenizer.json bring may
    /// lie beyond its vocabulary, which matters only once a text holds them.
    fn within_model(&self, ids: Vec<u32>) -> Result<Vec<u32>, TextError> {
        let rows = self.folder.model_vocab_size().unwrap_or(u64::MAX);
        match ids.iter().find(|id| u64::from(**id) >= rows) {
            None => Ok(ids),
            Some(id) => Err(self.coding(format!(
                "the text holds the token {:?}, whose id {id} is beyond the model's vocabulary of {rows} (hint: take it out of the text, or \
                 give a model with a row for it)",
                self.id_to_token(*id).unwrap_or_default()
            ))),
        }
    }

    /// Text of `ids`; with `skip_special` without special tokens. Bytes that are not UTF-8 become
    /// U+FFFD, and ids without a token (the model's vocabulary is padded) contribute nothing, as in
    /// the reference.
    ///
    /// # Errors
    /// [`TextError::Coding`] with the tokenizer's reason.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TextError> {
        let kept: Vec<u32> = ids
            .iter()
            .copied()
            .filter(|id| !(skip_special && self.hidden.contains(id)))
            .collect();
        let text = self.raw(&kept)?;
        Ok(if self.clean_up {
            clean_up_spaces(&text)
        } else {
            text
        })
    }

    /// Text of `ids` as the decoder makes it.
    pub(super) fn raw(&self, ids: &[u32]) -> Result<String, TextError> {
        let decoded = self.tokenizer.decode(ids, false);
        decoded.map_err(|error| self.coding(error.to_string()))
    }

    /// `messages` as the model was trained to read them; encode the result without adding special
    /// tokens.
    ///
    /// # Errors
    /// [`TextError::Template`] without a template, with one that does not parse, or when it refuses
    /// these messages.
    pub fn render_chat(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
    ) -> Result<String, TextError> {
        match &self.chat {
            Ok(chat) => chat.render(messages, add_generation_prompt),
            Err(detail) => Err(TextError::Template {
                path: self.folder.dir.clone(),
                detail: detail.clone(),
            }),
        }
    }

    /// Compares with the model: every id addresses a row of the embedding, and the mask token is
    /// the model's.
    ///
    /// # Errors
    /// [`TextError::WrongModel`] with both numbers.
    pub fn check_model(&self, expected: &ExpectedIds) -> Result<(), TextError> {
        // Tokens put behind the vocabulary may lie beyond the model as long as no text holds them.
        let top = self.tokenizer.get_vocab(false).into_values().max();
        let top = top.unwrap_or(0);
        if top as usize >= expected.vocab_size {
            return Err(TextError::WrongModel {
                path: self.folder.dir.clone(),
                detail: format!(
                    "the tokenizer's largest id is {top}, the {} model has {} embeddings",
                    expected.family, expected.vocab_size
                ),
            });
        }
        match expected.mask_token_id {
            Some(mask) => {
                self.check_mask(u64::try_from(mask).unwrap_or(u64::MAX), &expected.family)
            }
            None => Ok(()),
        }
    }

    fn check_mask(&self, mask: u64, family: &str) -> Result<(), TextError> {
        let added = self.tokenizer.get_added_tokens_decoder();
        let token_of = |id: u32| Some((self.tokenizer.id_to_token(id)?, added.contains_key(&id)));
        special::check_mask(
            &self.folder,
            mask,
            family,
            self.tokens.named("mask_token"),
            |token| self.tokenizer.token_to_id(token),
            token_of,
        )
    }

    fn coding(&self, detail: String) -> TextError {
        TextError::Coding {
            path: self.folder.dir.clone(),
            detail,
        }
    }
}

impl std::fmt::Debug for TextCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextCodec")
            .field("dir", &self.folder.dir)
            .field("vocab_len", &self.vocab_len())
            .field("special", &self.special)
            .finish()
    }
}

/// The fast reference classes hide tokens flagged special; the slow ones hide the tokens that
/// special_tokens_map.json names.
fn hidden_ids(folder: &Folder, tokenizer: &Tokenizer, special: HashSet<u32>) -> HashSet<u32> {
    if !folder.uses_slow_class() {
        return special;
    }
    special::slow_special(folder)
        .into_iter()
        .filter_map(|token| tokenizer.token_to_id(token))
        .collect()
}

/// Whether the reference cleans text up as the folder asks: transformers 5 does not for BPE, where
/// it would take blanks out of the text.
fn cleans_up(folder: &Folder, tokenizer: &Tokenizer) -> bool {
    let forced = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output";
    let is_bpe = matches!(tokenizer.get_model(), ModelWrapper::BPE(_));
    folder.flag("clean_up_tokenization_spaces") == Some(true)
        && (!is_bpe || folder.uses_slow_class() || folder.flag(forced) == Some(true))
}

/// The reference's removal of spaces before punctuation and contractions, in its order.
fn clean_up_spaces(text: &str) -> String {
    let pairs = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    pairs
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
