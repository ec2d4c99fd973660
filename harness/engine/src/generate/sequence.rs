//! From generated tokens to text.

use super::{GenerateError, Generated};
use crate::text::TextCodec;

/// The tokens before the first end token.
#[must_use]
pub fn cut_at_eos<'a>(tokens: &'a [i64], eos_token_ids: &[i64]) -> &'a [i64] {
    let end = tokens
        .iter()
        .position(|token| eos_token_ids.contains(token))
        .unwrap_or(tokens.len());
    &tokens[..end]
}

/// Text that tokens up to the first end token add to their prompt, special tokens left out.
///
/// # Errors
/// Ids that no vocabulary has; the tokenizer's failures.
pub fn text_of(
    codec: &TextCodec,
    prompt: &[i64],
    tokens: &[i64],
    eos_token_ids: &[i64],
) -> Result<String, GenerateError> {
    let new = token_ids(cut_at_eos(tokens, eos_token_ids))?;
    Ok(codec.continuation(&token_ids(prompt)?, &new, true)?)
}

/// Ids as the tokenizer counts them.
///
/// # Errors
/// Ids that no vocabulary has.
pub fn token_ids(tokens: &[i64]) -> Result<Vec<u32>, GenerateError> {
    let id = |token: &i64| {
        u32::try_from(*token).map_err(|_| GenerateError::request(format!("{token} is no token id")))
    };
    tokens.iter().map(id).collect()
}

/// Texts of all rows after their prompts, each up to its first end token. `[b]`
///
/// # Errors
/// As [`text_of`].
pub fn continuations(
    codec: &TextCodec,
    generated: &Generated,
    eos_token_ids: &[i64],
) -> Result<Vec<String>, GenerateError> {
    (0..generated.tokens.b())
        .map(|r| {
            let (prompt, new) = (generated.prompt(r), generated.continuation(r));
            text_of(codec, prompt, new, eos_token_ids)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_before_the_first_end_token() {
        assert_eq!(cut_at_eos(&[4, 5, 9, 6, 9], &[8, 9]), [4, 5]);
        assert_eq!(cut_at_eos(&[4, 5], &[9]), [4, 5]);
        assert!(cut_at_eos(&[9], &[9]).is_empty());
    }
}
