use std::collections::BTreeMap;

use super::{Cost, Plan, PlannedGroup, ResolvedBench, ResolvedRow};

/// Rows of a batch that the memory estimate assumes.
pub const BATCH_ROWS: u64 = 64;
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
        let Some(generated) = row.kind.generated(&row.settings) else {
            return 0;
        };
        let folder = &bench.models[row.model].folder;
        let weights = folder.numbers() * dtype_bytes;
        let saes = row
            .saes
            .iter()
            .map(|s| 2 * u64::from(s.d_model) * u64::from(s.d_sae) * 4);
        let sae: u64 = match generated.holds_all_saes {
            true => saes.sum(),
            false => saes.max().unwrap_or(0),
        };
        let rows = bench.limits.batch.map_or(BATCH_ROWS, u64::from);
        let tokens = rows * generated.row_tokens;
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

/// What each cell of a group takes, when all are run together.
pub(super) fn share_of(group: &PlannedGroup, memory: u64) -> f64 {
    let work = group.work(|_| true, memory).unwrap_or_default();
    work.flops / group.members.len().max(1) as f64
}
