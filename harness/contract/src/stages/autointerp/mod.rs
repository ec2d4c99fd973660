//! Parameters of the auto-interpretation bench's cells: one pass over text finds the windows of
//! latents, a judge explains latents by some of them and predicts from its explanation which of the
//! others they are active in (PROTOCOL §5).

mod explanation_line;
pub(super) mod outputs;

use harness_core::autointerp::WindowRules;
use serde::{Deserialize, Serialize};

use super::{FixedMasks, JudgeRef, ModelRef, Numerics, Positions, SaeRef, ShardRef};

/// Most tokens of a prediction.
pub const PREDICT_MAX_TOKENS: u32 = 64;

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
