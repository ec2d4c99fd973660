//! Text of tokens that stand in a longer text.
//!
//! Decoders treat the start of a text in their own way: those of SentencePiece drop the blank in
//! front of the first word, that of WordPiece puts none there. A continuation decoded by itself
//! would thus be glued to its prompt, and tokens decoded one by one to each other. Here a
//! continuation is what decoding prompt and continuation together adds to the prompt, and a token
//! what it adds behind an ordinary word. Bytes that are a character only together are decoded
//! together.

use std::ops::Range;

use super::codec::TextCodec;
use super::error::TextError;

/// What decoders write for bytes that are no character.
const NO_CHARACTER: char = '\u{FFFD}';
/// Most tokens that make up one character: one for each of its bytes, and the tokens of a joined
/// sequence that begin or end within it.
const REACH: usize = 8;

impl TextCodec {
    /// Text that `ids` add behind `before`: the difference between decoding both and decoding
    /// `before` alone. With `skip_special` special tokens are left out on both sides.
    ///
    /// # Errors
    /// [`TextError::Coding`] with the tokenizer's reason.
    pub fn continuation(
        &self,
        before: &[u32],
        ids: &[u32],
        skip_special: bool,
    ) -> Result<String, TextError> {
        let start = self.decode(before, skip_special)?;
        let whole = self.decode(&[before, ids].concat(), skip_special)?;
        Ok(added(&start, &whole).to_owned())
    }

    /// Text of the tokens at `range` of the row `ids`, one for each. Joined they are the row's text
    /// there: blanks between words are kept, and a character of several tokens stands whole at the
    /// last of them, with nothing at the others.
    ///
    /// # Errors
    /// [`TextError::Coding`] with the tokenizer's reason.
    pub fn pieces(&self, ids: &[u32], range: Range<usize>) -> Result<Vec<String>, TextError> {
        let mut out = vec![String::new(); range.len()];
        if range.is_empty() {
            return Ok(out);
        }
        let is_part = |at: usize| Ok::<_, TextError>(is_part(&self.piece(ids[at])?));
        let (mut at, mut end) = (range.start, range.end);
        while at > 0 && range.start - at < REACH && is_part(at)? && is_part(at - 1)? {
            at -= 1;
        }
        while end < ids.len() && end - range.end < REACH && is_part(end - 1)? && is_part(end)? {
            end += 1;
        }
        while at < end {
            let (next, text) = self.character(ids, at, end)?;
            let last = (next - 1).min(range.end - 1);
            if last >= range.start {
                out[last - range.start].push_str(&text);
            }
            at = next;
        }
        Ok(out)
    }

    /// The text from `at` on that is whole characters, and where it ends: one token, or several
    /// that share a character. Bytes that make none are told of one by one.
    fn character(&self, ids: &[u32], at: usize, end: usize) -> Result<(usize, String), TextError> {
        let first = self.piece(ids[at])?;
        if is_part(&first) {
            for next in at + 2..=end.min(at + REACH) {
                if !is_part(&self.piece(ids[next - 1])?) {
                    break;
                }
                let text = self.behind_anchor(&ids[at..next])?;
                if !is_part(&text) {
                    return Ok((next, text));
                }
            }
        }
        match at {
            0 => Ok((1, self.raw(&ids[..1])?)),
            _ => Ok((at + 1, first)),
        }
    }

    /// Text of one token behind a word: with the blank in front that it stands for.
    ///
    /// # Errors
    /// [`TextError::Coding`] with the tokenizer's reason.
    pub fn piece(&self, id: u32) -> Result<String, TextError> {
        self.pieces.get(id, || self.behind_anchor(&[id]))
    }

    fn behind_anchor(&self, ids: &[u32]) -> Result<String, TextError> {
        let Some(anchor) = self.pieces.anchor else {
            return self.raw(ids);
        };
        let start = self.raw(&[anchor])?;
        let whole = self.raw(&[&[anchor], ids].concat())?;
        Ok(added(&start, &whole).to_owned())
    }
}

/// Whether a token's text is part of a character only.
fn is_part(text: &str) -> bool {
    text.contains(NO_CHARACTER)
}

/// What `whole` has behind `start`. Where the end of `start` reads otherwise in `whole`, as the
/// first bytes of a character do once the others are there, what is common is taken off.
fn added<'a>(start: &str, whole: &'a str) -> &'a str {
    let same = start.chars().zip(whole.chars()).take_while(|(a, b)| a == b);
    let common: usize = same.map(|(_, char)| char.len_utf8()).sum();
    &whole[common..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_starts_where_the_texts_part() {
        assert_eq!(added("The rain", "The rain the and"), " the and");
        assert_eq!(added("", "the"), "the");
        assert_eq!(added("caf\u{FFFD}", "café au lait"), "é au lait");
        assert_eq!(added("same", "same"), "");
    }
}
