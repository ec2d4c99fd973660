use std::collections::BTreeMap;

use harness_contract::stages::Measures;
use harness_core::grid::{
    GridShape, ModelShape, PROCESS_BYTES, SAE_CHUNK_BYTES, Site, TooLarge, counted_share, sae_flops,
};

/// What is kept of a latent while a text is read: twelve windows of 21 activations with their
/// places.
const LATENT_BYTES: u64 = 2 << 10;

/// What a group of cells shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// The clean pass and the blocks below each layer, where SAEs are spliced in.
    Splices,
    /// One pass up to the deepest layer, where SAEs are read.
    Activations,
}

/// Cells that are run together: all SAEs of a model on one shard of text.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedGroup {
    /// What they share.
    pub kind: GroupKind,
    /// What they are called in messages.
    pub what: &'static str,
    /// Model, by name.
    pub model: String,
    /// The text: `tokens 0 to 20,000` or `rollouts`.
    pub text: String,
    /// Tokens of the text, at most.
    pub n_tokens: u64,
    /// Tokens of a row, at most.
    pub row_tokens: u64,
    /// Tokens of a row that are counted where nothing is left out: all, or the continuation.
    pub row_targets: u64,
    /// Rows of a batch, before memory is looked at.
    pub batch: u32,
    /// Smallest and largest mask rate; `None` where the model reads clean text.
    pub rates: Option<(f64, f64)>,
    /// Sets of logits a counted token is scored by.
    pub n_logit_sets: u64,
    pub measures: Measures,
    /// Sizes of the model.
    pub shape: ModelShape,
    /// Bytes of its weights in memory.
    pub weight_bytes: u64,
    /// Its cells.
    pub members: Vec<Member>,
}

/// One SAE of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Key of its cell.
    pub key: String,
    /// Layer, from 0.
    pub layer: u32,
    /// Latents that are active at a position at most: its active budget, or all where it has none.
    pub most_active: u32,
    /// Latents.
    pub d_sae: u32,
    /// Splices: at all positions, and at those of its policy where that is measured.
    pub n_splices: u64,
}

/// What a group takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupWork {
    pub n_saes: u64,
    /// Rows of a batch.
    pub batch: u64,
    /// Splices that go through the blocks above together.
    pub stack: u64,
    /// Block passes of a batch; a stacked pass of s splices counts as s.
    pub block_passes: u64,
    /// Rows through the head for each counted token.
    pub head_rows_per_token: u64,
    /// Rows of text; more when documents are shorter than a row.
    pub n_rows: u64,
    /// Counted tokens, expected.
    pub counted_tokens: u64,
    /// Rows through the head, expected.
    pub head_rows: u64,
    /// Floating-point operations of blocks, head and SAEs.
    pub flops: f64,
    /// Memory at the peak, in bytes.
    pub memory_bytes: u64,
    /// Why it cannot be run as it is: the budget is too small for one row and one splice at a time,
    /// which the other fields are about.
    pub too_large: Option<TooLarge>,
}

impl PlannedGroup {
    /// Its size, with the cells for which `counts` is true; `None` when there are none.
    pub fn shape(&self, counts: impl Fn(&str) -> bool) -> Option<GridShape> {
        let open: Vec<&Member> = self.members.iter().filter(|m| counts(&m.key)).collect();
        let d_sae = open.iter().map(|m| u64::from(m.d_sae)).max()?;
        let mut sites: BTreeMap<u64, u64> = BTreeMap::new();
        for member in &open {
            *sites.entry(u64::from(member.layer)).or_default() += member.n_splices;
        }
        if self.measures.zero_ablation {
            sites.values_mut().for_each(|n| *n += 1);
        }
        // Encoder and decoder, in f32.
        let numbers = |m: &&Member| 2 * self.shape.d_model * u64::from(m.d_sae) * 4;
        Some(GridShape {
            model: self.shape,
            weight_bytes: self.weight_bytes,
            sae_bytes: open.iter().map(numbers).sum(),
            d_sae,
            sites: sites
                .into_iter()
                .map(|(layer, n_splices)| Site { layer, n_splices })
                .collect(),
            counted_share: self
                .rates
                .map_or(1.0, |(t_min, t_max)| counted_share(t_min, t_max)),
            n_logit_sets: self.n_logit_sets,
            tokens: self.row_tokens,
        })
    }

    /// What the cells take for which `counts` is true, within `memory` bytes (0: as a worker takes
    /// that is told of no bound); `None` when there are none.
    pub fn work(&self, counts: impl Fn(&str) -> bool, memory: u64) -> Option<GroupWork> {
        if self.kind == GroupKind::Activations {
            return self.activations(&counts);
        }
        let shape = self.shape(&counts)?;
        let budget = match memory {
            0 => shape.usual_budget(),
            memory => memory,
        };
        let (plan, too_large) = match shape.plan(u64::from(self.batch), budget) {
            Ok(plan) => (plan, None),
            Err(too_large) => (shape.smallest(), Some(too_large)),
        };
        let open = || self.members.iter().filter(|m| counts(&m.key));
        let n_rows = self.n_tokens.div_ceil(self.row_tokens.max(1));
        let mean_rate = self.rates.map_or(1.0, |(low, high)| (low + high) / 2.0);
        let targets = self.n_tokens as f64 * self.row_targets as f64 / self.row_tokens as f64;
        let counted_tokens = (targets * mean_rate).round() as u64;
        let head_rows_per_token = shape.head_passes() * self.n_logit_sets;
        let head_rows = counted_tokens * head_rows_per_token;
        let sae: f64 = open()
            .map(|m| {
                let (d_sae, k) = (u64::from(m.d_sae), u64::from(m.most_active));
                sae_flops(self.n_tokens, self.shape.d_model, d_sae, k)
            })
            .sum();
        let blocks = shape.block_passes() as f64 * self.shape.block_flops(n_rows, self.row_tokens);
        Some(GroupWork {
            n_saes: open().count() as u64,
            batch: plan.rows,
            stack: plan.stack,
            block_passes: shape.block_passes(),
            head_rows_per_token,
            n_rows,
            counted_tokens,
            head_rows,
            flops: blocks + self.shape.head_flops(head_rows) + sae,
            memory_bytes: plan.memory_bytes,
            too_large,
        })
    }

    /// What one pass takes that reads the SAEs of the cells for which `counts` is true; `None` when
    /// there are none.
    fn activations(&self, counts: impl Fn(&str) -> bool) -> Option<GroupWork> {
        let open: Vec<&Member> = self.members.iter().filter(|m| counts(&m.key)).collect();
        let block_passes = u64::from(open.iter().map(|m| m.layer).max()?) + 1;
        let n_rows = self.n_tokens.div_ceil(self.row_tokens.max(1));
        let (d_model, batch) = (self.shape.d_model, u64::from(self.batch));
        let batch_tokens = batch * self.row_tokens;
        // The encoder alone: nothing is decoded.
        let saes: f64 = open
            .iter()
            .map(|m| sae_flops(self.n_tokens, d_model, u64::from(m.d_sae), 0))
            .sum();
        let weights = |m: &&Member| 2 * d_model * u64::from(m.d_sae) * 4;
        let widest = open.iter().map(|m| u64::from(m.d_sae)).max()?;
        Some(GroupWork {
            n_saes: open.len() as u64,
            batch,
            stack: 1,
            block_passes,
            head_rows_per_token: 0,
            n_rows,
            counted_tokens: self.n_tokens,
            head_rows: 0,
            flops: block_passes as f64 * self.shape.block_flops(n_rows, self.row_tokens) + saes,
            memory_bytes: PROCESS_BYTES
                + self.weight_bytes
                + open.iter().map(weights).sum::<u64>()
                + open
                    .iter()
                    .map(|m| u64::from(m.d_sae) * LATENT_BYTES)
                    .sum::<u64>()
                + 3 * SAE_CHUNK_BYTES.min(batch_tokens * widest * 4)
                + batch_tokens * d_model * (12 * self.shape.dtype_bytes + 4),
            too_large: None,
        })
    }
}
