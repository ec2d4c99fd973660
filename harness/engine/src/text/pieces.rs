//! Text of single tokens behind an ordinary word.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokenizers::Tokenizer;

/// Tokens that are tried as an anchor where no likely one is in the vocabulary.
const MAX_ANCHORS: usize = 50_000;

/// The texts, kept because windows ask for the same ones again.
#[derive(Default)]
pub(super) struct Pieces {
    /// A token that decodes to a word, in front of the token that is looked at.
    pub(super) anchor: Option<u32>,
    known: Mutex<HashMap<u32, String>>,
}

impl Pieces {
    /// Looks for an anchor: a token of letters whose text stays the same before another.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        let words = ["a", "▁a", "Ġa", "A", "▁A", "e", "▁the", "the"];
        let likely = words.iter().filter_map(|word| tokenizer.token_to_id(word));
        let any = 0..tokenizer.get_vocab_size(false).min(MAX_ANCHORS) as u32;
        let is_anchor = |id: &u32| {
            let text = |ids: &[u32]| tokenizer.decode(ids, false).unwrap_or_default();
            let (one, two) = (text(&[*id]), text(&[*id, *id]));
            let word = one.trim_start();
            !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_alphabetic())
                && two.len() > one.len()
                && two.starts_with(&one)
        };
        Self {
            anchor: likely.chain(any).find(is_anchor),
            known: Mutex::default(),
        }
    }

    /// The text of a token; `read` is asked for one that is not kept yet.
    pub fn get<E>(&self, id: u32, read: impl FnOnce() -> Result<String, E>) -> Result<String, E> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = known().get(&id) {
            return Ok(text.clone());
        }
        let text = read()?;
        known().insert(id, text.clone());
        Ok(text)
    }
}
