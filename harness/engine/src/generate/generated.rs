use super::TokenGrid;
use crate::plugin::ModelInfo;

/// Prompts with what was generated after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Prompts and new tokens. Rows that ended early are filled up behind their end.
    pub tokens: TokenGrid,
    /// The step that filled a position; -1 where it was given, and the number of steps where a mask
    /// was left. Of an autoregressive run, the number of the token. `[b, t]`
    pub decode_step: Vec<i64>,
    /// New tokens of each row, an end token included. `[b]`
    pub n_new: Vec<usize>,
}

impl Generated {
    /// The tokens of row `r` before its continuation.
    #[must_use]
    pub fn prompt(&self, r: usize) -> &[i64] {
        &self.tokens.row(r)[..self.span(r).start]
    }

    /// The tokens of row `r` after its prompt; empty where there is no such row.
    #[must_use]
    pub fn continuation(&self, r: usize) -> &[i64] {
        &self.tokens.row(r)[self.span(r)]
    }

    /// Where row `r` has its continuation.
    fn span(&self, r: usize) -> std::ops::Range<usize> {
        let row = self.tokens.row(r);
        let step = self
            .decode_step
            .chunks(self.tokens.t())
            .nth(r)
            .unwrap_or(&[]);
        // Masks within a prompt are filled too, so the prompt ends where the last given token does.
        let new = self.n_new.get(r).copied().unwrap_or(0);
        let ended = step.iter().rev().take_while(|step| **step < 0).count();
        let end = row.len() - ended.min(row.len());
        end.saturating_sub(new)..end
    }
}

/// The id that padding holds. What it is changes nothing.
pub(super) fn padding_id(info: &ModelInfo) -> i64 {
    info.pad_token_id
        .or(info.eos_token_ids.first().copied())
        .unwrap_or(0)
}
