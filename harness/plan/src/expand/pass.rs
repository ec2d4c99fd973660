//! Cells that read the activations of SAEs share a pass over their text.

use harness_contract::sources::SaeFolder;

use super::{GroupKind, Member, PlannedGroup, ResolvedModel, ResolvedRow, expander::Expander};
use harness_contract::{
    cell::Cell,
    stages::{FixedMasks, Measures, Shown},
};

/// How a pass reads its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct PassText {
    /// Tokens, at most.
    pub(super) tokens: u64,
    /// Tokens of a row, at most.
    pub(super) row_tokens: u32,
    /// Rows of a batch, unless the command line says otherwise.
    pub(super) batch: u32,
}

/// The masks of a text that a model reads: autoregressive models have none.
pub(super) fn masks(model: &ResolvedModel, rate: Option<f64>, seed: u64) -> Option<FixedMasks> {
    rate.filter(|rate| *rate > 0.0 && model.folder.is_diffusion)
        .map(|rate| FixedMasks {
            rate,
            seed,
            shown: Shown::HiddenToken,
        })
}

impl Expander<'_> {
    /// Puts a cell into the pass it shares, which comes into being with its first.
    pub(super) fn join_pass(
        &mut self,
        cell: Cell,
        row: &ResolvedRow,
        text: PassText,
        sae: &SaeFolder,
    ) {
        let bench = self.bench;
        let model = &bench.models[row.model];
        let name = cell.group().unwrap_or_else(|| cell.key.clone());
        let index = match self.group_names.get(&name) {
            Some(index) => *index,
            None => {
                let bytes = bench.numerics.dtype.bytes();
                self.groups.push(PlannedGroup {
                    kind: GroupKind::Activations,
                    model: model.name.clone(),
                    text: format!("{} tokens", text.tokens),
                    n_tokens: text.tokens,
                    row_tokens: u64::from(text.row_tokens),
                    row_targets: 0,
                    batch: bench.limits.batch.unwrap_or(text.batch),
                    rates: None,
                    n_logit_sets: 0,
                    measures: Measures::default(),
                    shape: model.folder.shape(bytes),
                    weight_bytes: model.folder.numbers() * bytes,
                    members: Vec::new(),
                });
                self.group_names.insert(name, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        self.groups[index].members.push(Member {
            key: cell.key.clone(),
            layer: sae.layer,
            most_active: sae.k.unwrap_or(sae.d_sae),
            d_sae: sae.d_sae,
            n_splices: 0,
        });
        self.group_of.insert(cell.key, index);
    }
}
