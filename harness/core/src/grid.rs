//! The work of a grid of splices over one model, and how it is cut to fit a memory budget.
//!
//! One batch takes one clean pass through all blocks, whose residuals are kept at the insertion layers, and for every
//! splice the blocks above its layer only. Splices of one layer go through those blocks together on the batch
//! axis, `stack` at a time; layers are taken from the last to the first, and a layer's residual is freed with it. The head sees
//! the counted rows only. For 28 blocks and six SAEs at each of layers 1, 5, 10, 14, 23 and 27 that is 28 + 6 · 82 = 520 block passes, where a clean and a
//! spliced pass for each SAE are 72 · 28 = 2016.

use serde::{Deserialize, Serialize};

/// Tokens of a stacked pass beyond which stacking gains nothing.
const STACKED_TOKENS: u64 = 1 << 15;
/// Logits are formed in chunks of at most this many bytes.
pub const LOGIT_CHUNK_BYTES: u64 = 64 << 20;
/// Pre-activations of an SAE are formed for at most this many bytes of rows at a time.
pub const SAE_CHUNK_BYTES: u64 = 128 << 20;
/// Activations where nobody says how much memory there is: on a device, whose free memory cannot be asked for.
const USUAL_ACTIVATION_BYTES: u64 = 16 << 30;
/// A worker before it has loaded anything: libtorch, its thread pools, plugins.
pub const PROCESS_BYTES: u64 = 215 << 20;

/// Sizes of a decoder-only model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelShape {
    /// Blocks.
    pub n_layers: u64,
    /// Width of the residual stream.
    pub d_model: u64,
    /// Width of the keys (and of the values) of all heads together.
    pub d_kv: u64,
    /// Width of the feed-forward layer.
    pub d_ff: u64,
    /// Matrices of the feed-forward layer: 3 with a gate, else 2.
    pub n_ff: u64,
    /// Rows of the output head.
    pub vocab_size: u64,
    /// Bytes of a number of weights and residuals.
    pub dtype_bytes: u64,
}

impl ModelShape {
    /// Bytes of activations of one token within a block, at its peak: in attention the norm's input and output, queries, keys and
    /// values before and after their rotation, and the mix; in the feed-forward layer its input and two products.
    fn block_bytes(&self) -> u64 {
        let attention = 7 * self.d_model + 2 * self.d_kv;
        let feed_forward = 3 * self.d_model + 2 * self.d_ff;
        attention.max(feed_forward) * self.dtype_bytes
    }
}

/// Floating-point operations of encoding and decoding `rows` rows with a Top-K SAE: all latents, then the `k` active ones.
pub fn sae_flops(rows: u64, d_model: u64, d_sae: u64, k: u64) -> f64 {
    2.0 * rows as f64 * d_model as f64 * (d_sae + k) as f64
}

/// A layer at which residuals are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The layer, from 0.
    pub layer: u64,
    /// Suffixes run from it: one for each SAE and splice, and one for the zero ablation.
    pub n_splices: u64,
}

/// A grid over one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GridShape {
    pub model: ModelShape,
    /// Bytes of its weights in memory.
    pub weight_bytes: u64,
    /// Bytes of all SAEs in memory.
    pub sae_bytes: u64,
    /// Latents of the widest SAE.
    pub d_sae: u64,
    /// Insertion layers, ascending.
    pub sites: Vec<Site>,
    /// Share of a batch's tokens that is counted, see [`counted_share`].
    pub counted_share: f64,
    /// Sets of logits a counted token is scored by.
    pub n_logit_sets: u64,
    /// Tokens of a row.
    pub tokens: u64,
}

/// Share of the tokens of a batch that is counted when rates are drawn from `[t_min, t_max]` for each row: the mean rate, and a
/// margin for batches above it.
pub fn counted_share(t_min: f64, t_max: f64) -> f64 {
    f64::midpoint(t_min, t_max) + (t_max - t_min) / 6.0
}

/// How a grid is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GridPlan {
    /// Rows of a batch.
    pub rows: u64,
    /// Splices that go through a suffix together.
    pub stack: u64,
    /// Memory at the peak, in bytes.
    pub memory_bytes: u64,
}

/// A grid that no batch makes small enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "one row and one splice at a time still need {} MiB, and the budget is {} MiB",
    needed >> 20,
    budget >> 20
)]
pub struct TooLarge {
    pub needed: u64,
    /// Bytes there are.
    pub budget: u64,
}

impl GridShape {
    /// Block passes of one batch; a stacked pass of s splices counts as s.
    pub fn block_passes(&self) -> u64 {
        let suffixes = |site: &Site| site.n_splices * (self.model.n_layers - 1 - site.layer);
        self.model.n_layers + self.sites.iter().map(suffixes).sum::<u64>()
    }

    /// Passes whose counted rows go through the head: the clean one and every splice.
    pub fn head_passes(&self) -> u64 {
        1 + self.sites.iter().map(|site| site.n_splices).sum::<u64>()
    }

    /// Memory at the peak for batches of `rows` rows and `stack` splices together, in bytes.
    pub fn memory(&self, rows: u64, stack: u64) -> u64 {
        let model = &self.model;
        let n = rows * self.tokens;
        let resid = model.d_model * model.dtype_bytes;
        let counted = (n as f64 * self.counted_share).ceil() as u64 * self.n_logit_sets;
        let kept = (self.sites.len() as u64 + 1) * n * resid;
        let hidden = self.head_passes() * counted * resid;
        // Reconstructions of the splices that wait for their suffix, in f32, and the input in f32.
        let waiting = (stack + 1) * n * model.d_model * 4;
        let suffix = stack * n * (resid + model.block_bytes());
        let sae = SAE_CHUNK_BYTES.min(n * self.d_sae * 4) * 3;
        let head = LOGIT_CHUNK_BYTES.min(counted * model.vocab_size * 4) * 3;
        PROCESS_BYTES
            + self.weight_bytes
            + self.sae_bytes
            + kept
            + hidden
            + waiting
            + suffix.max(sae).max(head)
    }

    /// Bytes of a budget where nobody names one: weights, SAEs, and as much for activations as any device of some size has left.
    pub fn usual_budget(&self) -> u64 {
        self.weight_bytes + self.sae_bytes + USUAL_ACTIVATION_BYTES
    }

    /// One row and one splice at a time.
    pub fn smallest(&self) -> GridPlan {
        GridPlan {
            rows: 1,
            stack: 1,
            memory_bytes: self.memory(1, 1),
        }
    }

    /// The largest batch of at most `rows` rows, and the most splices together, within `budget` bytes. The stack is cut before the
    /// batch.
    ///
    /// # Errors
    /// [`TooLarge`] when one row and one splice do not fit.
    pub fn plan(&self, rows: u64, budget: u64) -> Result<GridPlan, TooLarge> {
        let deepest = self.sites.iter().map(|s| s.n_splices).max().unwrap_or(1);
        let mut rows = rows.max(1);
        loop {
            let most = (STACKED_TOKENS / (rows * self.tokens).max(1)).clamp(1, deepest.max(1));
            let fits = (1..=most)
                .rev()
                .find(|stack| self.memory(rows, *stack) <= budget);
            match fits {
                Some(stack) => {
                    return Ok(GridPlan {
                        rows,
                        stack,
                        memory_bytes: self.memory(rows, stack),
                    });
                }
                None if rows == 1 => {
                    return Err(TooLarge {
                        needed: self.smallest().memory_bytes,
                        budget,
                    });
                }
                None => rows /= 2,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(n_layers: u64, layers: &[u64], n_splices: u64) -> GridShape {
        GridShape {
            model: ModelShape {
                n_layers,
                d_model: 3584,
                d_kv: 512,
                d_ff: 18944,
                n_ff: 3,
                vocab_size: 152_064,
                dtype_bytes: 2,
            },
            weight_bytes: 15 << 30,
            sae_bytes: 36 * (235 << 20),
            d_sae: 16384,
            sites: layers
                .iter()
                .map(|&layer| Site { layer, n_splices })
                .collect(),
            counted_share: 0.5,
            n_logit_sets: 1,
            tokens: 2048,
        }
    }

    #[test]
    fn the_papers_grid_takes_520_block_passes() {
        let shape = shape(28, &[1, 5, 10, 14, 23, 27], 6);
        assert_eq!((shape.block_passes(), shape.head_passes()), (520, 37));
    }

    #[test]
    fn less_memory_means_smaller_stacks_then_smaller_batches() {
        let shape = shape(28, &[1, 5, 10, 14, 23, 27], 6);
        let wide = shape.plan(8, 1 << 40).unwrap();
        assert_eq!(wide.rows, 8);
        let mut last = wide;
        for gib in (27..40).rev() {
            let Ok(plan) = shape.plan(8, gib << 30) else {
                break;
            };
            assert!(plan.memory_bytes <= gib << 30);
            assert!((plan.rows, plan.stack) <= (last.rows, last.stack.max(plan.stack)));
            last = plan;
        }
        assert!(last.rows < 8 || last.stack < wide.stack);
        let error = shape.plan(8, 1 << 30).unwrap_err();
        assert!(error.to_string().contains("the budget is 1024 MiB"));
    }

    /// Qwen2.5-7B: 233 M weights a block.
    #[test]
    fn flops_of_a_block_are_two_for_each_weight() {
        let model = shape(28, &[], 0).model;
        let attention = 4.0 * 100.0 * 100.0 * 3584.0;
        let flops = model.block_flops(1, 100) - attention;
        assert!((flops / 200.0 / 233.0e6 - 1.0).abs() < 0.01, "{flops}");
    }
}
