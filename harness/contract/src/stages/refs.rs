//! What the parameters of several stages hold.

use harness_core::{dtype::Dtype, policy::Policy, sae_id::sae_name};
use serde::{Deserialize, Serialize};

/// Share of the rows of text files that may be unusable, unless a bench says otherwise. They are
/// passed over and counted.
pub const MAX_BAD_ROWS: f64 = 0.001;

/// How numbers are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numerics {
    /// Number format of model passes.
    pub dtype: Dtype,
    /// Pinned instruction set and thread count (`--reproducible`).
    pub reproducible: bool,
    /// Weights may hold NaN and infinity (`--allow-nan`). A cell that was computed so is never
    /// taken for one that was not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_nan: bool,
}

/// A component of a plugin library, by content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginRef {
    /// What it is, as plugin manifests name it: `model`, `sae`, `judge`, …
    pub kind: String,
    /// Name of the component.
    pub name: String,
    /// Identifier of the plugin that offers it.
    pub plugin: String,
    /// SHA-256 of its library.
    pub hash: String,
}

/// A checkpoint, by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRef {
    /// Name in the bench: `dream`, `qwen`, …
    pub name: String,
    /// Content hash of the folder, the key into [`crate::protocol::Sources::models`].
    pub checkpoint: String,
    /// The adapter that reads it.
    pub adapter: PluginRef,
}

/// One SAE, by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaeRef {
    /// Name of the set in the bench: `dream-mask`, …
    pub set: String,
    /// What it was trained on.
    pub policy: Policy,
    /// Block whose output it was trained on, from 0.
    pub layer: u32,
    /// Active budget; `None` where an SAE has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<u32>,
    /// Content hash of its folder, the key into [`crate::protocol::Sources::saes`].
    pub hash: String,
    /// The architecture that reads it.
    pub architecture: PluginRef,
}

impl SaeRef {
    /// Name for messages: `dream-mask layer 2 k 8`.
    pub fn name(&self) -> String {
        sae_name(&self.set, self.layer, self.k)
    }
}

/// A judge and the model behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeRef {
    pub component: PluginRef,
    /// Model behind an online judge; `None` where the component decides alone.
    pub model: Option<String>,
}

/// Text for activation passes, by content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusRef {
    /// Content hashes of its files in reading order, keys into [`crate::protocol::Sources::files`].
    pub files: Vec<String>,
    /// Tokens after which no further row is read, padding not counted.
    pub budget_tokens: u64,
    /// Tokens of a row.
    pub context_length: u32,
    /// Share of the rows of the files that may be unusable; [`MAX_BAD_ROWS`] when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bad_rows: Option<f64>,
    /// Field of the files that holds the text; `text` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_field: Option<String>,
}

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

/// How texts are generated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationParams {
    /// Tokens after the prefix.
    pub max_new_tokens: u32,
    pub temperature: f64,
    /// Nucleus.
    pub top_p: f64,
    /// Denoising; `None` for autoregressive models.
    pub denoising: Option<DenoisingParams>,
    /// Seed of all draws; streams are `Stream::new(seed, "generate").item(prefix)`, the same for
    /// steered and unsteered texts.
    pub seed: u64,
}

/// The denoising run of a masked-diffusion model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenoisingParams {
    pub dlm_steps: u32,
    /// The order in which positions are revealed.
    pub order: PluginRef,
}
