//! Parameters of the steering benches' cells.

pub(super) mod outputs;

use serde::{Deserialize, Serialize};

use super::{
    CorpusRef, FixedMasks, GenerationParams, JudgeRef, ModelRef, Numerics, PluginRef, Positions,
    SaeRef,
};

/// Most tokens of an explanation.
pub const EXPLAIN_MAX_TOKENS: u32 = 96;
/// Most tokens of a judgement of two texts.
pub const PAIR_MAX_TOKENS: u32 = 128;

/// Select features of one SAE from a held-out activation pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeaturesParams {
    pub model: ModelRef,
    pub sae: SaeRef,
    /// The text.
    pub corpus: CorpusRef,
    /// Masks put into it; `None` reads clean text, as the authors do (PROTOCOL §5, Decision). It is
    /// written where there are masks only, so that features of clean text keep their keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masks: Option<FixedMasks>,
    /// Positions at which activations count.
    #[serde(default, skip_serializing_if = "Positions::is_all")]
    pub positions: Positions,
    pub choice: FeatureChoice,
    /// How numbers are computed.
    pub numerics: Numerics,
}

/// Which latents are steered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FeatureChoice {
    /// Those whose strongest texts share most of their rare words.
    Coherent {
        /// Features at most.
        n: u32,
    },
    /// These, in this order.
    Listed {
        /// Indices.
        latents: Vec<u32>,
    },
}

/// Explain the selected features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExplainParams {
    /// A judge is asked.
    Asked {
        /// Who explains.
        judge: JudgeRef,
    },
    /// They were explained before, in an auto-interpretation run; there is one for each feature.
    Given {
        /// What was said.
        explanations: Vec<GivenExplanation>,
        /// Identity of the judge that said it.
        judge: String,
    },
}

/// An explanation of an earlier run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenExplanation {
    pub latent: u32,
    /// What it stands for.
    pub explanation: String,
}

/// Unsteered texts of every prefix of the pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineParams {
    pub model: ModelRef,
    /// The pool of prefixes, in order.
    pub prefixes: Vec<String>,
    /// How texts are generated.
    pub generation: GenerationParams,
    /// How numbers are computed.
    pub numerics: Numerics,
}

/// Steered texts of every selected feature of one SAE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SteerParams {
    pub model: ModelRef,
    /// The SAE whose decoder rows are the directions.
    pub sae: SaeRef,
    /// The pool of prefixes; feature f gets `n_prefix` of them, drawn from
    /// `Stream::new(seed, "prefixes").item(layer).item(latent)`.
    pub prefixes: Vec<String>,
    /// Prefixes for each feature.
    pub n_prefix: u32,
    /// How texts are generated.
    pub generation: GenerationParams,
    /// How the residual is moved.
    pub steering: SteeringParams,
    /// How numbers are computed.
    pub numerics: Numerics,
}

/// How the residual is moved (Eq. 4, Eq. 13).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SteeringParams {
    /// Strength α.
    pub amp_factor: f64,
    /// Which positions: the steering policy.
    pub token_scope: PluginRef,
    /// Steered positions of a policy that picks some; `None` where it has no such number.
    pub k_scope: Option<u32>,
}

/// Perplexity of texts under the scorer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerplexityParams {
    /// The scorer, named `model` because it is the model this stage runs.
    pub model: ModelRef,
    /// Tokens of a text scored at most.
    pub max_tokens: u32,
    /// How numbers are computed.
    pub numerics: Numerics,
}

/// Judge pairs of unsteered and steered texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeParams {
    /// Who judges.
    pub judge: JudgeRef,
}

/// Form C, P and S of every feature (Eq. 17–19) and their means over the SAE.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreParams {
    /// Weight of P in S.
    pub lambda: f64,
    /// Bootstrap resamples of the standard errors.
    pub resamples: u32,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// The metrics that form C, P and S, and others, sorted.
    pub metrics: Vec<PluginRef>,
    /// Features without C or P count as 0 in all means, as the authors count them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invalid_as_zero: bool,
    /// Whether other values than C, P and S are kept: true where other metrics than the usual three
    /// are named. It is written then only, so that a bench with the usual ones keeps its keys, and
    /// cells that have dropped such values are not taken for those that hold them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_others: bool,
}

/// The values that every steering bench needs of its metrics: C, P and S.
pub const STEERING_VALUES: [&str; 3] = [
    "concept_improvement",
    "perplexity_reduction",
    "steering_score",
];

/// What steering benches give to metrics: arrays `[n_prefix] f64` of one feature, NaN where a value
/// is missing, and what each is.
pub const METRIC_INPUTS: [(&str, &str); 4] = [
    (
        "score_before",
        "judge's score of the unsteered text, 0 to 100",
    ),
    ("score_after", "judge's score of the steered text, 0 to 100"),
    ("ppl_before", "perplexity of the unsteered text, above 0"),
    ("ppl_after", "perplexity of the steered text, above 0"),
];
