use std::ops::AddAssign;

use serde::Serialize;

use super::{Plan, ResolvedBench};
use crate::{
    bench::{Settings, SteeringSettings},
    expand::ResolvedRow,
    sources::ModelFolder,
    stages::{EXPLAIN_MAX_TOKENS, PAIR_MAX_TOKENS},
};

/// Rows of a batch that the memory estimate assumes.
const BATCH_ROWS: u64 = 64;
/// Tokens of a question for an explanation, about: instructions, and texts with the tokens marked.
const EXPLAIN_PROMPT_TOKENS: u64 = 600;
/// Tokens of a question about two texts, about: instructions and the concept, without the texts.
const PAIR_PROMPT_TOKENS: u64 = 200;
/// Logits are formed in chunks of at most this many bytes.
const LOGIT_CHUNK_BYTES: u64 = 64 << 20;

/// What cells take, estimated from configurations alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Cells.
    pub cells: u64,
    /// One block run on one row of a batch, once.
    pub block_passes: u64,
    /// Positions through an output head.
    pub head_rows: u64,
    /// Texts generated.
    pub generations: u64,
    /// Questions to the judge (fewer when replies are kept).
    pub judge_calls: u64,
    /// Tokens of these questions, about.
    pub judge_tokens_in: u64,
    /// Tokens of their answers, at most.
    pub judge_tokens_out: u64,
    /// Floating-point operations of grid passes.
    pub flops: f64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.cells += other.cells;
        self.block_passes += other.block_passes;
        self.head_rows += other.head_rows;
        self.generations += other.generations;
        self.judge_calls += other.judge_calls;
        self.judge_tokens_in += other.judge_tokens_in;
        self.judge_tokens_out += other.judge_tokens_out;
        self.flops += other.flops;
    }
}

impl Plan {
    /// What the cells for which `counts` is true take. Cells that are run together share what can be shared.
    pub fn cost(&self, counts: impl Fn(&str) -> bool) -> Cost {
        let mut sum = Cost::default();
        for cell in self.cells.iter().filter(|c| counts(&c.key)) {
            sum += self.costs.get(&cell.key).copied().unwrap_or_default();
        }
        for group in &self.groups {
            if let Some(Ok(work)) = group.work(&counts, self.memory) {
                sum += Cost {
                    block_passes: work.block_passes * work.n_rows,
                    head_rows: work.head_rows,
                    flops: work.flops,
                    ..Cost::default()
                };
            }
        }
        sum
    }

    /// Largest memory of a worker, in bytes: one model with its SAEs of one layer and the activations of a batch, or the
    /// most demanding group of a grid.
    pub fn memory_bytes(&self) -> u64 {
        let of_groups = self.groups.iter().filter_map(|group| {
            Some(match group.work(|_| true, self.memory)? {
                Ok(work) => work.memory_bytes,
                Err(too_large) => too_large.needed,
            })
        });
        of_groups.max().unwrap_or(0).max(self.memory_bytes)
    }
}

/// Memory of the most demanding row that generates texts.
pub(super) fn memory_bytes(bench: &ResolvedBench) -> u64 {
    let dtype_bytes = bench.numerics.dtype.bytes();
    let of_row = |row: &ResolvedRow| {
        // Tokens of a row, and whether the SAEs of all layers are held together.
        let (row_tokens, holds_all) = match &row.settings {
            Settings::Steering(set) => {
                // The pass that finds features is a group.
                (set.max_new_tokens + 16, false)
            }
            Settings::Decoding(set) => (set.prompt_tokens + set.max_new_tokens, true),
            // Groups say what they take.
            Settings::Documents { .. } | Settings::Rollouts { .. } | Settings::Autointerp(_) => {
                return 0;
            }
        };
        let folder = &bench.models[row.model].folder;
        // Weight files hold two bytes a number.
        let weights = folder.weight_bytes / 2 * dtype_bytes;
        let saes = row
            .saes
            .iter()
            .map(|s| 2 * u64::from(s.d_model) * u64::from(s.d_sae) * 4);
        let sae: u64 = match holds_all {
            true => saes.sum(),
            false => saes.max().unwrap_or(0),
        };
        let rows = bench.limits.batch.map_or(BATCH_ROWS, u64::from);
        let tokens = rows * u64::from(row_tokens);
        let latents = row
            .saes
            .iter()
            .map(|s| u64::from(s.d_sae))
            .max()
            .unwrap_or(0)
            * 4;
        let activations =
            (8 * u64::from(folder.d_model) + 3 * u64::from(folder.d_ff)) * dtype_bytes;
        weights + sae + tokens * (latents + activations) + LOGIT_CHUNK_BYTES
    };
    bench.rows.iter().map(of_row).max().unwrap_or(0)
}

/// What texts of a model take: `steps` denoising steps each, or a pass a token.
pub(super) fn generation_cost(
    model: &ModelFolder,
    texts: u64,
    dlm_steps: u32,
    new_tokens: u32,
) -> Cost {
    let new_tokens = u64::from(new_tokens);
    let steps = if model.is_diffusion {
        u64::from(dlm_steps)
    } else {
        new_tokens
    };
    Cost {
        cells: 1,
        block_passes: texts * steps * u64::from(model.n_layers),
        // A denoising run scores what is still masked, half of it on average.
        head_rows: if model.is_diffusion {
            texts * new_tokens * (steps + 1) / 2
        } else {
            texts * new_tokens
        },
        generations: texts,
        ..Cost::default()
    }
}

/// Costs of the cells of one SAE, but for its features, whose group says what they take.
pub(super) struct RowCosts {
    pub(super) explain: Cost,
    pub(super) baseline: Cost,
    pub(super) steer: Cost,
    pub(super) baseline_perplexity: Cost,
    pub(super) steer_perplexity: Cost,
    pub(super) judge: Cost,
}

impl RowCosts {
    pub(super) fn of(bench: &ResolvedBench, row: &ResolvedRow, set: &SteeringSettings) -> RowCosts {
        let model = &bench.models[row.model].folder;
        let scorer = row.scorer.unwrap_or(row.model);
        let scorer_layers = u64::from(bench.models[scorer].folder.n_layers);
        let new_tokens = u64::from(set.max_new_tokens);
        let pool = bench.prefixes.len() as u64;
        let texts = u64::from(set.n_features) * u64::from(set.n_prefix);
        let one = Cost {
            cells: 1,
            ..Cost::default()
        };
        let generate = |texts| generation_cost(model, texts, set.dlm_steps, set.max_new_tokens);
        let score = |texts: u64| Cost {
            block_passes: texts * scorer_layers,
            head_rows: texts * new_tokens,
            ..one
        };
        RowCosts {
            explain: Cost {
                judge_calls: u64::from(set.n_features),
                judge_tokens_in: u64::from(set.n_features) * EXPLAIN_PROMPT_TOKENS,
                judge_tokens_out: u64::from(set.n_features * EXPLAIN_MAX_TOKENS),
                ..one
            },
            baseline: generate(pool),
            steer: generate(texts),
            baseline_perplexity: score(pool),
            steer_perplexity: score(texts),
            judge: Cost {
                judge_calls: texts,
                judge_tokens_in: texts * (PAIR_PROMPT_TOKENS + 2 * new_tokens),
                judge_tokens_out: texts * u64::from(PAIR_MAX_TOKENS),
                ..one
            },
        }
    }
}
