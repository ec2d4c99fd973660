//! Parameters of the auto-interpretation bench's cells: one pass over text finds the windows of
//! latents, a judge explains latents by some of them and predicts from its explanation which of the
//! others they are active in (PROTOCOL §5).

use harness_core::autointerp::WindowRules;
use serde::{Deserialize, Serialize};

use super::{JudgeRef, ModelRef, Numerics, SaeRef, ShardRef};

/// Most tokens of a prediction.
pub const PREDICT_MAX_TOKENS: u32 = 64;

/// Masks of the pass: every token but the first of a row is masked with probability `rate`. Draws
/// are keyed by the row, so every SAE sees the same masks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedMasks {
    /// t.
    pub rate: f64,
    pub seed: u64,
    /// What a window shows where a mask was. It is written so that windows of another kind have
    /// another key; they did show the mask token once, and judges had nothing to go by.
    pub shown: Shown,
}

/// What a window shows where a mask was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// The token of the text.
    HiddenToken,
}

/// Positions at which activations count. Special tokens never do; a mask is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    #[default]
    All,
    /// Those the SAE was trained on: masked or visible ones.
    Policy,
}

impl Positions {
    /// Whether activations count at all positions.
    pub fn is_all(&self) -> bool {
        *self == Positions::All
    }
}

/// Which latents are looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LatentChoice {
    /// The first `n` that are alive and have all windows, in the order of a seeded shuffle of all
    /// latents. Of the shuffle the first 1024 are looked at, or 4 · `n` when that is more; when
    /// fewer than `n` of them are found, the output has fewer.
    Sample {
        /// Latents.
        n: u32,
    },
    /// These, whatever they do.
    Listed {
        /// Indices, ascending.
        latents: Vec<u32>,
    },
}

/// Find the windows of one SAE's latents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowsParams {
    pub model: ModelRef,
    pub sae: SaeRef,
    /// The text; `first_token` is 0.
    pub text: ShardRef,
    /// Masks; `None` reads clean text.
    pub masks: Option<FixedMasks>,
    /// Positions at which activations count.
    pub positions: Positions,
    pub latents: LatentChoice,
    /// Activations below which a latent is dead.
    pub dead_threshold: u32,
    pub rules: WindowRules,
    /// Tokens that a latent promotes and suppresses most, of each.
    pub n_logits: u32,
    /// JSON pointer to the labels of a document (a text or a list of texts), e.g. `/labels/topics`:
    /// the latent that goes best with each label is looked at besides the chosen ones.
    pub label_field: Option<String>,
    /// Seed of the shuffle and of all draws.
    pub seed: u64,
    /// How numbers are computed.
    pub numerics: Numerics,
}

/// Predict from explanations which windows latents are active in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictParams {
    /// Who predicts.
    pub judge: JudgeRef,
}
