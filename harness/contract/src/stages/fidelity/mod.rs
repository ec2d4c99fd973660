//! Parameters of the grid benches' cells: how much a model's loss changes when an SAE's
//! reconstruction stands for its residual (Eq. 16), and how much of the residual the SAE explains
//! (Eq. 15).

pub(super) mod outputs;

use harness_core::{
    fidelity::{Logits, SpliceKind},
    policy::Policy,
};
use serde::{Deserialize, Serialize};

use super::{GenerationParams, ModelRef, Numerics, SaeRef};

/// How rows are made from documents (PROTOCOL §3, §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentPolicy {
    /// One document a row, its end cut off at the context length.
    Truncate,
    /// Documents joined by the end token until a row is full; a document longer than a row goes on
    /// in the next. Results from before that was so have another name in their keys.
    #[serde(rename = "pack_whole", alias = "pack")]
    Pack,
}

/// A part of a stream of rows: those before which at least `first_token` and fewer than
/// `first_token + tokens` tokens have been read. Padding does not count. Shards of one size tile
/// the stream, so a larger budget keeps those it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRef {
    /// Content hashes of the files in reading order, keys into [`crate::protocol::Sources::files`].
    pub files: Vec<String>,
    /// Field of jsonl and parquet files that holds the text.
    pub text_field: String,
    /// How rows are made.
    pub documents: DocumentPolicy,
    /// Tokens of a row at most.
    pub context_length: u32,
    /// Tokens of the stream before the shard.
    pub first_token: u64,
    pub tokens: u64,
    /// Take what is there when the data end before the shard does; otherwise that is an error.
    pub allow_short: bool,
    /// Share of the rows of the files that may be unusable; [`super::MAX_BAD_ROWS`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bad_rows: Option<f64>,
}

/// What is measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GridText {
    Files(ShardRef),
    /// The continuations of the rollout cell that is the first input: prompts stay visible and are
    /// no targets.
    Rollouts,
}

/// The forward process of masked diffusion (Eq. 5, 6): row r gets one rate t ~ U[t_min, t_max], and
/// each of its tokens but the first is masked with probability t. Draws are those of
/// `Stream::new(seed, "fidelity").item(r)`, so every SAE, batch size and shard sees the same masks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corruption {
    /// Smallest rate.
    pub t_min: f64,
    /// Largest rate.
    pub t_max: f64,
    /// Seed of rates and masks.
    pub seed: u64,
}

/// What is measured besides the splice at all positions with aligned logits. Each costs further
/// passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measures {
    /// Splice at the positions of the SAE's training policy only: one more suffix for each SAE.
    pub policy_splice: bool,
    /// The residual replaced by zeros, for the loss recovered: one more suffix for each layer.
    pub zero_ablation: bool,
    /// The authors' unshifted logits where the model's are shifted: as many head rows again.
    pub paper_code: bool,
    /// KL divergence between clean and spliced predictions.
    pub kl: bool,
}

impl Measures {
    /// What takes the place of the residual for an SAE trained on the positions of `policy`.
    pub fn splices(self, policy: Policy, is_diffusion: bool) -> Vec<SpliceKind> {
        let mut splices = vec![SpliceKind::All];
        // Every token is the policy's for an SAE of clean text.
        if self.policy_splice && is_diffusion && policy != Policy::Clean {
            splices.push(SpliceKind::Policy);
        }
        if self.zero_ablation {
            splices.push(SpliceKind::Zero);
        }
        splices
    }

    /// Which logits score a token. Those of the authors' code are the aligned ones unless the model
    /// is a diffusion model with shifted logits.
    pub fn logits(self, is_shifted: bool) -> Vec<Logits> {
        let mut logits = vec![Logits::Aligned];
        if self.paper_code && is_shifted {
            logits.push(Logits::PaperCode);
        }
        logits
    }
}

/// Fidelity of one SAE on one shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FidelityParams {
    /// The model whose residual is replaced.
    pub model: ModelRef,
    pub sae: SaeRef,
    pub text: GridText,
    /// Masks; `None` for autoregressive models, which read clean text.
    pub corruption: Option<Corruption>,
    pub measures: Measures,
    /// How numbers are computed.
    pub numerics: Numerics,
}

/// Continuations of prompts by a model, to measure on (PROTOCOL §4, transfer).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutParams {
    /// The model that writes them.
    pub model: ModelRef,
    /// Content hashes of the files of prompts, keys into [`crate::protocol::Sources::files`].
    pub files: Vec<String>,
    /// Field of the files that holds the prompt.
    pub text_field: String,
    /// Share of the rows of the files that may be unusable; [`super::MAX_BAD_ROWS`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bad_rows: Option<f64>,
    /// Prompts read.
    pub n_prompts: u32,
    /// Tokens of a prompt at most; longer ones are cut at their end.
    pub prompt_tokens: u32,
    /// Render prompts with the checkpoint's chat template, as a user's message.
    pub chat: bool,
    /// How texts are generated; draws are keyed by the prompt's index.
    pub generation: GenerationParams,
    /// How numbers are computed.
    pub numerics: Numerics,
}
