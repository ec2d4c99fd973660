use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// An explained latent: a line of explanations.jsonl, which another bench can take as its features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplanationLine {
    /// Content hash of the SAE.
    pub sae_hash: String,
    pub model: String,
    /// SAE set.
    pub sae: String,
    /// The SAE within its set; empty in files from before it was kept.
    #[serde(default)]
    pub sae_id: String,
    /// Layer, from 0.
    pub layer: u32,
    /// Active budget of the SAE; `None` where it has none.
    #[serde(default)]
    pub k: Option<u32>,
    /// Index of the latent.
    pub latent: u32,
    /// What it stands for.
    pub explanation: String,
    /// Share of windows predicted rightly.
    pub autointerp_score: Option<f64>,
    /// Identity of the judge.
    pub judge: String,
}

impl ExplanationLine {
    /// The bench that leaves such lines.
    pub const BENCH: &str = "autointerp";
    /// The file that it leaves them in.
    pub const FILE: &str = "explanations.jsonl";

    /// The larger score first, no score last, then the smaller index.
    pub fn best_first(&self, other: &ExplanationLine) -> Ordering {
        let score = |line: &Self| line.autointerp_score.unwrap_or(f64::NEG_INFINITY);
        (score(other).total_cmp(&score(self))).then(self.latent.cmp(&other.latent))
    }
}
