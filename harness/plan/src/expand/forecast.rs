use std::collections::BTreeMap;

use harness_contract::sources::SaeFolder;

use super::{
    Cost, Plan, PlannedGroup, ResolvedBench, ResolvedRow,
    texts::{Written, encoded, mean_tokens, scored},
};
use crate::bench::{Settings, SteeringSettings};
use harness_contract::{
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

impl Plan {
    /// What the cells for which `counts` is true take. Cells that are run together share what can
    /// be shared.
    pub fn cost(&self, counts: impl Fn(&str) -> bool) -> Cost {
        let mut sum = Cost::default();
        for cell in self.cells.iter().filter(|c| counts(&c.key)) {
            sum += self.costs.get(&cell.key).copied().unwrap_or_default();
        }
        for group in &self.groups {
            if let Some(work) = group.work(&counts, self.memory) {
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

    /// Floating-point operations predicted for a cell, for comparison with those of others: cells
    /// that are run together share theirs evenly. A cell that only asks a judge or forms scores has
    /// none.
    pub fn predicted_flops(&self, key: &str) -> f64 {
        let own = self.costs.get(key).map_or(0.0, |cost| cost.flops);
        let shared = self.group_of(key).map_or(0.0, |group| self.shares[group]);
        own + shared
    }

    /// Largest memory of a worker that runs cells of a model, in bytes.
    pub fn memory_of(&self, model: &str) -> u64 {
        let groups = self.groups.iter().filter(|group| group.model == model);
        let of_groups = groups.filter_map(|group| {
            let work = group.work(|_| true, self.memory)?;
            Some(work.memory_bytes)
        });
        let of_rows = self.row_memory.get(model).copied().unwrap_or(0);
        of_groups.max().unwrap_or(0).max(of_rows)
    }

    /// Largest memory of a worker, in bytes: one model with its SAEs of one layer and the
    /// activations of a batch, or the most demanding group of a grid.
    pub fn memory_bytes(&self) -> u64 {
        let of_rows = self.row_memory.keys();
        let models = of_rows.chain(self.groups.iter().map(|group| &group.model));
        models.map(|model| self.memory_of(model)).max().unwrap_or(0)
    }
}

/// Memory of the most demanding row of each model that generates texts, by the model's name.
pub(super) fn memory_by_model(bench: &ResolvedBench) -> BTreeMap<String, u64> {
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
        let weights = folder.numbers() * dtype_bytes;
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
    let mut memory = BTreeMap::new();
    for row in &bench.rows {
        let name = bench.models[row.model].name.clone();
        let most: &mut u64 = memory.entry(name).or_default();
        *most = of_row(row).max(*most);
    }
    memory
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
    pub(super) fn of(
        bench: &ResolvedBench,
        row: &ResolvedRow,
        set: &SteeringSettings,
        sae: &SaeFolder,
    ) -> RowCosts {
        let model = &bench.models[row.model].folder;
        // Without a scorer no perplexity is asked for, and its cost is not either.
        let scorer = &bench.models[row.scorer.unwrap_or(row.model)].folder;
        let new_tokens = u64::from(set.max_new_tokens);
        let texts = u64::from(set.n_features) * u64::from(set.n_prefix);
        let unsteered = Written {
            texts: bench.prefixes.len() as u64,
            prompt: mean_tokens(&bench.prefixes),
            new: new_tokens,
            steps: u64::from(set.dlm_steps),
        };
        let steered = Written { texts, ..unsteered };
        let mut steer = steered.cost(model);
        steer.flops += steering_flops(model, set, sae, &steered);
        // Their continuations are scored, which another tokenizer cuts into about as many tokens.
        let tokens = new_tokens.min(u64::from(set.scorer_max_tokens));
        RowCosts {
            explain: Cost {
                cells: 1,
                judge_calls: u64::from(set.n_features),
                judge_tokens_in: u64::from(set.n_features) * EXPLAIN_PROMPT_TOKENS,
                judge_tokens_out: u64::from(set.n_features * EXPLAIN_MAX_TOKENS),
                ..Cost::default()
            },
            baseline: unsteered.cost(model),
            steer,
            baseline_perplexity: scored(scorer, unsteered.texts, tokens),
            steer_perplexity: scored(scorer, texts, tokens),
            judge: Cost {
                cells: 1,
                judge_calls: texts,
                judge_tokens_in: texts * (PAIR_PROMPT_TOKENS + 2 * new_tokens),
                judge_tokens_out: texts * u64::from(PAIR_MAX_TOKENS),
                ..Cost::default()
            },
        }
    }
}

/// Floating-point operations of the SAE that steers: it reads the positions that its scope moves,
/// at every step.
fn steering_flops(
    model: &ModelFolder,
    set: &SteeringSettings,
    sae: &SaeFolder,
    texts: &Written,
) -> f64 {
    let all = texts.positions(model);
    match (set.token_scope.as_str(), set.k_scope) {
        ("update-tokens", _) if model.is_diffusion => {
            encoded(texts.masked(model), sae.d_model, sae.d_sae)
        }
        (_, Some(k)) => {
            // The latents of a batch are read everywhere, and the largest activation at k
            // positions.
            let features = BATCH_ROWS.div_ceil(u64::from(set.n_prefix).max(1));
            let chosen = texts.texts * texts.steps * u64::from(k);
            encoded(
                all,
                sae.d_model,
                u32::try_from(features).unwrap_or(u32::MAX),
            ) + encoded(chosen.min(all), sae.d_model, sae.d_sae)
        }
        _ => encoded(all, sae.d_model, sae.d_sae),
    }
}

/// What each cell of a group takes, when all are run together.
pub(super) fn share_of(group: &PlannedGroup, memory: u64) -> f64 {
    let work = group.work(|_| true, memory).unwrap_or_default();
    work.flops / group.members.len().max(1) as f64
}
