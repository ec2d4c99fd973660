//! From documents to rows of token ids.

use super::documents::Document;
use super::error::DataError;
use crate::text::TextCodec;

/// How documents fill rows of at most `context_length` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackPolicy {
    /// One document a row, with the family's special tokens, cut at the context (evaluation,
    /// PROTOCOL §4).
    Truncate,
    /// Documents joined by the end token until they hold 4 characters per position, one begin token
    /// (or end token) in front, no other special tokens, cut at the context (SAE training, PROTOCOL
    /// §3). What is left of a document that no row could hold goes on in the next rows, where the
    /// protocol drops it.
    Pack,
}

/// The ids that packing puts between documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackIds {
    /// Put in front of a packed row; the end token where the tokenizer has none.
    pub begin: u32,
    /// Put between documents.
    pub end: u32,
}

impl PackIds {
    /// The ids `codec` names.
    ///
    /// # Errors
    /// [`DataError::Setting`] when the tokenizer has no end token.
    pub fn of(codec: &TextCodec) -> Result<Self, DataError> {
        let special = codec.special();
        let end = special.eos.ok_or_else(|| {
            DataError::Setting(format!(
                "{}: the tokenizer names no eos_token, packing needs one",
                codec.dir().display()
            ))
        })?;
        Ok(Self {
            begin: special.bos.unwrap_or(end),
            end,
        })
    }
}

/// One row of token ids, not padded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Position of the row in the stream, the key of its random numbers. It does not depend on
    /// batching.
    pub item: u64,
    /// Token ids, at most the context length.
    pub ids: Vec<u32>,
    /// Documents that begin in the row.
    pub documents: u64,
}

/// Turns documents into rows, lazily.
pub struct Packer<'a, D> {
    documents: D,
    codec: &'a TextCodec,
    policy: PackPolicy,
    ids: PackIds,
    context_length: usize,
    next_item: u64,
    /// Rows of fewer tokens than this have nothing to predict and are passed over, counted in
    /// [`Packer::too_short`].
    min_tokens: usize,
    too_short: u64,
    /// What is left of a document longer than a row.
    rest: Option<Rest>,
    /// Tokens of the documents so far, estimated where truncating left the end of a long one
    /// untokenised.
    document_tokens: f64,
    /// Tokens of them that are in rows.
    row_tokens: u64,
    finished: bool,
}

/// The end of a document that goes on in the next row.
struct Rest {
    ids: std::vec::IntoIter<u32>,
    /// Characters of the document for each of its tokens.
    chars_per_token: f64,
}

/// The first tokens of a text.
struct Beginning {
    ids: Vec<u32>,
    /// Tokens of the whole text, estimated where its end was not tokenised.
    whole: f64,
}

/// Characters read per position of a packed row.
const CHARS_PER_TOKEN: usize = 4;
/// Characters of a long document that are tokenised first; more only when they turn out not to fill
/// the row.
const PREFIX_CHARS_PER_TOKEN: usize = 16;
/// Tokens at the end of a cut text whose boundaries may differ from those in the whole text.
const CUT_MARGIN_TOKENS: usize = 16;

impl<'a, D: Iterator<Item = Result<Document, DataError>>> Packer<'a, D> {
    /// Rows of at most `context_length` tokens from `documents`.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a context below 2, or when packing needs an end token that the
    /// tokenizer lacks.
    pub fn new(
        documents: D,
        codec: &'a TextCodec,
        policy: PackPolicy,
        context_length: usize,
    ) -> Result<Self, DataError> {
        if context_length < 2 {
            return Err(DataError::Setting(format!(
                "context length {context_length}: a row needs at least 2 tokens"
            )));
        }
        let ids = match policy {
            PackPolicy::Pack => PackIds::of(codec)?,
            PackPolicy::Truncate => PackIds { begin: 0, end: 0 },
        };
        Ok(Self {
            documents,
            codec,
            policy,
            ids,
            context_length,
            next_item: 0,
            min_tokens: 2,
            too_short: 0,
            rest: None,
            document_tokens: 0.0,
            row_tokens: 0,
            finished: false,
        })
    }

    /// The share of the tokens of the documents so far that is in rows; the others were cut off at
    /// the context. `None` before the first.
    pub fn kept_share(&self) -> Option<f64> {
        let left = self.rest.as_ref().map_or(0, |rest| rest.ids.len()) as f64;
        let all = self.document_tokens - left;
        (all > 0.0).then(|| (self.row_tokens as f64 / all).min(1.0))
    }

    /// Rows passed over because they had fewer than two tokens.
    pub fn too_short(&self) -> u64 {
        self.too_short
    }

    /// The documents behind the rows, for their counts.
    pub fn documents(&self) -> &D {
        &self.documents
    }

    fn next_row(&mut self) -> Result<Option<TokenRow>, DataError> {
        loop {
            let row = match self.policy {
                PackPolicy::Truncate => self.truncated()?,
                PackPolicy::Pack => self.packed()?,
            };
            let Some((mut ids, documents)) = row else {
                return Ok(None);
            };
            ids.truncate(self.context_length);
            let item = self.next_item;
            self.next_item += 1;
            if ids.len() < self.min_tokens {
                self.too_short += 1;
                continue;
            }
            return Ok(Some(TokenRow {
                item,
                ids,
                documents,
            }));
        }
    }

    fn truncated(&mut self) -> Result<Option<(Vec<u32>, u64)>, DataError> {
        let Some(document) = self.documents.next().transpose()? else {
            return Ok(None);
        };
        let Beginning { ids, whole } = self.encode_up_to(&document.text, self.context_length)?;
        self.document_tokens += whole;
        self.row_tokens += ids.len() as u64;
        Ok(Some((ids, 1)))
    }

    fn packed(&mut self) -> Result<Option<(Vec<u32>, u64)>, DataError> {
        let wanted = CHARS_PER_TOKEN * self.context_length;
        let mut ids = vec![self.ids.begin];
        let (mut chars, mut documents, mut has_text) = (0, 0, false);
        if let Some(rest) = self.rest.take() {
            chars = (rest.ids.len() as f64 * rest.chars_per_token).round() as usize;
            has_text = true;
            self.fill(&mut ids, rest);
        }
        while chars < wanted && self.rest.is_none() {
            let Some(document) = self.documents.next().transpose()? else {
                break;
            };
            if has_text {
                ids.push(self.ids.end);
            }
            let n_chars = document.text.chars().count();
            let own = self.codec.encode(&document.text, false)?;
            self.document_tokens += own.len() as f64;
            // No row holds a text of so many tokens behind a begin token.
            if own.len() >= self.context_length {
                let chars_per_token = n_chars as f64 / own.len() as f64;
                self.fill(
                    &mut ids,
                    Rest {
                        ids: own.into_iter(),
                        chars_per_token,
                    },
                );
            } else {
                let room = self.context_length.saturating_sub(ids.len());
                let taken = room.min(own.len());
                ids.extend(&own[..taken]);
                self.row_tokens += taken as u64;
            }
            chars += n_chars;
            documents += 1;
            has_text = true;
        }
        Ok(has_text.then_some((ids, documents)))
    }

    /// Fills a row with the beginning of `text`, and keeps what does not fit.
    fn fill(&mut self, row: &mut Vec<u32>, mut text: Rest) {
        let before = row.len();
        let room = self.context_length.saturating_sub(before);
        row.extend(text.ids.by_ref().take(room));
        self.row_tokens += (row.len() - before) as u64;
        self.rest = (text.ids.len() > 0).then_some(text);
    }

    /// The first `limit` tokens of `text`, special ones included. Of a long text only a beginning
    /// is tokenised when that is sure to give the same tokens.
    fn encode_up_to(&self, text: &str, limit: usize) -> Result<Beginning, DataError> {
        let cut = text
            .char_indices()
            .nth(PREFIX_CHARS_PER_TOKEN * (limit + CUT_MARGIN_TOKENS))
            .map(|(at, _)| at);
        if let Some(at) = cut {
            let mut ids = self.codec.encode(&text[..at], true)?;
            if ids.len() >= limit + CUT_MARGIN_TOKENS {
                let whole = ids.len() as f64 * (text.len() as f64 / at as f64);
                ids.truncate(limit);
                return Ok(Beginning { ids, whole });
            }
        }
        let mut ids = self.codec.encode(text, true)?;
        let whole = ids.len() as f64;
        ids.truncate(limit);
        Ok(Beginning { ids, whole })
    }
}

impl<D: Iterator<Item = Result<Document, DataError>>> Iterator for Packer<'_, D> {
    type Item = Result<TokenRow, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let next = self.next_row().transpose();
        self.finished = !matches!(next, Some(Ok(_)));
        next
    }
}
