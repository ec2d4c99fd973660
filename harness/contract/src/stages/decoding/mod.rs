//! Parameters of the decoding-order bench's cells: questions answered by denoising in one order,
//! with SAE features followed in every pass (PROTOCOL §7).

pub(super) mod outputs;

use harness_core::task::preset::Preset;
use serde::{Deserialize, Serialize};

use super::{GenerationParams, ModelRef, Numerics, SaeRef};

/// A part of a seeded sample of questions. Samples are drawn without replacement, so that a larger
/// one begins with the smaller, and parts of one size tile it: a bench with more questions keeps
/// those it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuestionsRef {
    /// Content hashes of the files in reading order, keys into [`crate::protocol::Sources::files`].
    pub files: Vec<String>,
    /// Field that holds the question.
    pub question_field: String,
    /// Field that holds the worked answer, which ends in the gold number.
    pub answer_field: String,
    /// Share of the rows that may hold no question, [`super::MAX_BAD_ROWS`] when absent, or no gold
    /// answer, none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bad_rows: Option<f64>,
    /// Seed of the sample.
    pub seed: u64,
    /// Questions of the sample before this part.
    pub first: u32,
    /// Questions of this part.
    pub count: u32,
}

/// Some questions answered in one decoding order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodingParams {
    /// The model that answers.
    pub model: ModelRef,
    /// One SAE for each layer that is followed, by layer.
    pub saes: Vec<SaeRef>,
    /// Latents of a set (`TopIdx_K` of Eq. 20).
    pub k_set: u32,
    pub questions: QuestionsRef,
    /// How they are put, in full.
    pub preset: Preset,
    /// Tokens of a prompt at most.
    pub prompt_tokens: u32,
    /// How answers are generated; the decoding order is in it. Draws are keyed by a question's
    /// number in the data.
    pub generation: GenerationParams,
    /// Follow a row only until a stop token is among its decoded ones, as the authors' code does;
    /// without it to the last step.
    pub until_stop: bool,
    /// How numbers are computed.
    pub numerics: Numerics,
}
