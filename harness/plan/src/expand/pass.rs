//! Cells that read the activations of SAEs share a pass over their text.

use sae_folder::SaeFolder;

use super::{GroupKind, Member, PlannedGroup, ResolvedBench, ResolvedModel, ResolvedRow};
use harness_contract::stages::{FixedMasks, Measures, Shown};

/// How a pass reads its text.
#[derive(Clone, Copy, Debug)]
pub struct PassText {
    /// Tokens, at most.
    pub tokens: u64,
    /// Tokens of a row, at most.
    pub row_tokens: u32,
    /// Rows of a batch, unless the command line says otherwise.
    pub batch: u32,
}

/// The masks of a text that a model reads: autoregressive models have none.
pub fn masks(model: &ResolvedModel, rate: Option<f64>, seed: u64) -> Option<FixedMasks> {
    rate.filter(|rate| *rate > 0.0 && model.folder.is_diffusion)
        .map(|rate| FixedMasks {
            rate,
            seed,
            shown: Shown::HiddenToken,
        })
}

impl PassText {
    /// The group of cells that share the pass of a row.
    pub fn group(&self, bench: &ResolvedBench, row: &ResolvedRow) -> PlannedGroup {
        let model = &bench.models[row.model];
        let bytes = bench.numerics.dtype.bytes();
        PlannedGroup {
            kind: GroupKind::Activations,
            what: "activations",
            model: model.name.clone(),
            text: format!("{} tokens", self.tokens),
            n_tokens: self.tokens,
            row_tokens: u64::from(self.row_tokens),
            row_targets: 0,
            batch: bench.limits.batch.unwrap_or(self.batch),
            rates: None,
            n_logit_sets: 0,
            measures: Measures::default(),
            shape: model.folder.shape(bytes),
            weight_bytes: model.folder.numbers() * bytes,
            members: Vec::new(),
        }
    }
}

impl Member {
    /// A cell that reads an SAE in the pass of its group, or splices it in `n_splices` times.
    pub fn of(key: String, sae: &SaeFolder, n_splices: u64) -> Member {
        Member {
            key,
            layer: sae.layer,
            most_active: sae.k.unwrap_or(sae.d_sae),
            d_sae: sae.d_sae,
            n_splices,
        }
    }
}
