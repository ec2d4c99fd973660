//! Outputs of the grid stages. They are sums, so that shards add up; ratios are formed when tables
//! are derived.

use harness_core::{ev::EvMoments, units::UnitSums};
use serde::{Deserialize, Serialize};

/// Sums of one SAE over one shard. What the columns of `units` mean is written down in
/// `harness_core::fidelity`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FidelityOutput {
    /// Costs and explained variance of each resampling unit (rows, in at most 64 units a shard).
    pub units: UnitSums,
    /// Moments of the policy's tokens.
    pub moments: EvMoments,
    /// Moments without the tokens of massive activations.
    pub moments_robust: EvMoments,
    /// Rows of the shard.
    pub n_rows: u64,
    /// Tokens of the shard, padding not counted.
    pub n_tokens: u64,
    /// Lines or rows of the data files that could not be used.
    pub n_bad_rows: u64,
    /// Rows passed over because they had nothing to predict.
    pub n_too_short: u64,
    /// The data ended before the shard did (allowed by `allow_short`).
    pub ended_short: bool,
    /// The share of the documents' tokens that is in rows, where the context length cuts off most
    /// of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_kept: Option<f64>,
}

/// Generated continuations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RolloutOutput {
    /// One for each prompt, in order.
    pub rollouts: Vec<Rollout>,
    /// Lines or rows of the data files that could not be used.
    #[serde(default, skip_serializing_if = "crate::outputs::is_zero")]
    pub n_bad_rows: u64,
    /// Prompts passed over because they hold special tokens alone.
    #[serde(default, skip_serializing_if = "crate::outputs::is_zero")]
    pub n_without_text: u64,
    /// Prompts cut at their end.
    #[serde(default, skip_serializing_if = "crate::outputs::is_zero")]
    pub n_cut: u64,
}

/// One continuation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Token ids of the prompt.
    pub prompt_ids: Vec<u32>,
    /// Token ids of the continuation up to the first end token, which is left out.
    pub ids: Vec<u32>,
    /// The continuation as text.
    pub text: String,
}
