//! What passes through a model do, in numbers that add up, and how many floating-point operations that is. The engine counts with them and a
//! dry run predicts with them, so that both mean the same.

use std::ops::{AddAssign, Mul};

use crate::grid::ModelShape;

/// What passes through a model did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassWork {
    /// Rows × blocks.
    pub block_passes: u64,
    /// Tokens × blocks.
    pub tokens: u64,
    /// Pairs of a token and one it may attend to × blocks; what a causal mask leaves out is counted, as dense products compute it.
    pub pairs: u64,
    /// Rows through the output head.
    pub head_rows: u64,
}

impl PassWork {
    /// `rows` rows of `tokens` tokens through `n_blocks` blocks, each attending to `context` columns.
    pub fn blocks(rows: u64, n_blocks: u64, tokens: u64, context: u64) -> PassWork {
        let block_passes = rows.saturating_mul(n_blocks);
        PassWork {
            block_passes,
            tokens: block_passes.saturating_mul(tokens),
            pairs: block_passes.saturating_mul(tokens).saturating_mul(context),
            head_rows: 0,
        }
    }

    /// Rows through the output head.
    pub fn head(rows: u64) -> PassWork {
        PassWork {
            head_rows: rows,
            ..PassWork::default()
        }
    }

    /// One text by denoising: every step reads the prompt and all new positions, and the head sees those that are still masked.
    ///
    /// - `revealed`: positions revealed at each step. `[n_steps]`
    pub fn denoising(n_blocks: u64, prompt: u64, new: u64, revealed: &[usize]) -> PassWork {
        let t = prompt + new;
        let mut work = PassWork::blocks(1, n_blocks, t, t) * revealed.len() as u64;
        work.head_rows = masked_rows(new, revealed);
        work
    }

    /// One text token by token with stored keys and values: the prompt once, then each new token but the last, which is never read.
    pub fn autoregression(n_blocks: u64, prompt: u64, new: u64) -> PassWork {
        let mut work = PassWork::blocks(1, n_blocks, prompt, prompt);
        for read in 1..new {
            work += PassWork::blocks(1, n_blocks, 1, prompt + read);
        }
        work.head_rows = new;
        work
    }

    /// What was done since an earlier count.
    #[must_use]
    pub fn since(&self, before: &PassWork) -> PassWork {
        PassWork {
            block_passes: self.block_passes.saturating_sub(before.block_passes),
            tokens: self.tokens.saturating_sub(before.tokens),
            pairs: self.pairs.saturating_sub(before.pairs),
            head_rows: self.head_rows.saturating_sub(before.head_rows),
        }
    }
}

/// Masked positions of a text summed over its steps: rows that the head sees, and that a policy on masked positions steers.
pub fn masked_rows(new: u64, revealed: &[usize]) -> u64 {
    let mut left = new;
    let mut sum = 0;
    for n in revealed {
        sum += left;
        left = left.saturating_sub(*n as u64);
    }
    sum
}

impl AddAssign for PassWork {
    fn add_assign(&mut self, other: PassWork) {
        self.block_passes += other.block_passes;
        self.tokens += other.tokens;
        self.pairs += other.pairs;
        self.head_rows += other.head_rows;
    }
}

impl Mul<u64> for PassWork {
    type Output = PassWork;

    fn mul(self, n: u64) -> PassWork {
        PassWork {
            block_passes: self.block_passes * n,
            tokens: self.tokens * n,
            pairs: self.pairs * n,
            head_rows: self.head_rows * n,
        }
    }
}

impl ModelShape {
    /// Numbers in the matrices of a block.
    pub fn block_numbers(&self) -> u64 {
        let attention = 2 * self.d_model + 2 * self.d_kv;
        self.d_model * (attention + self.n_ff * self.d_ff)
    }

    /// Numbers in the model's matrices: blocks, and one of the vocabulary at each end.
    pub fn numbers(&self) -> u64 {
        self.n_layers * self.block_numbers() + 2 * self.vocab_size * self.d_model
    }

    /// Floating-point operations: two for each weight of a block and token, and of the head and row, and the two products of attention over
    /// all pairs.
    pub fn flops(&self, work: &PassWork) -> f64 {
        let d = self.d_model as f64;
        2.0 * work.tokens as f64 * self.block_numbers() as f64
            + 4.0 * work.pairs as f64 * d
            + 2.0 * work.head_rows as f64 * d * self.vocab_size as f64
    }

    /// Floating-point operations of one block on `rows` rows of `tokens` tokens.
    pub fn block_flops(&self, rows: u64, tokens: u64) -> f64 {
        self.flops(&PassWork::blocks(rows, 1, tokens, tokens))
    }

    /// Floating-point operations of the head on `rows` rows.
    pub fn head_flops(&self, rows: u64) -> f64 {
        self.flops(&PassWork::head(rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{dream_transfer_counts, llada_transfer_counts};

    #[test]
    fn a_denoising_run_reads_everything_at_every_step() {
        let work = PassWork::denoising(28, 6, 30, &llada_transfer_counts(30, 30));
        assert_eq!(work.block_passes, 30 * 28);
        assert_eq!(work.tokens, 30 * 28 * 36);
        assert_eq!(work.pairs, 30 * 28 * 36 * 36);
        assert_eq!(work.head_rows, 30 * 31 / 2);
        // Dream reveals nothing at its first step and two at its last.
        let dream = PassWork::denoising(28, 6, 30, &dream_transfer_counts(30, 30, 1e-3));
        assert_eq!(dream.head_rows, 30 * 31 / 2 + 29);
    }

    #[test]
    fn token_by_token_each_is_read_once() {
        let work = PassWork::autoregression(2, 5, 3);
        assert_eq!((work.block_passes, work.tokens), (2 * 3, 2 * (5 + 2)));
        assert_eq!((work.pairs, work.head_rows), (2 * (25 + 6 + 7), 3));
    }
}
