//! Outputs of the steering stages.

use std::collections::BTreeMap;

use harness_core::stats::Estimate;
use serde::{Deserialize, Serialize};

use crate::outputs::Outcome;

/// Features selected from an activation pass, best first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeaturesOutput {
    /// Selected features, in the order of the ranking: a smaller `n_features` gives a prefix of
    /// this list.
    pub features: Vec<Feature>,
    /// Tokens the pass has seen, padding not counted.
    pub tokens: u64,
    /// Documents the pass has seen.
    pub documents: u64,
    /// Latents that never fired in the pass.
    pub n_dead: u64,
    /// Lines or rows of the data files that could not be used.
    #[serde(default, skip_serializing_if = "crate::outputs::is_zero")]
    pub n_bad_rows: u64,
    /// The share of the documents' tokens that is in rows, where the context length cuts off most
    /// of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_kept: Option<f64>,
}

/// One selected feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// Index of the latent.
    pub latent: u32,
    /// Fraction of tokens on which it is active.
    pub density: f64,
    /// Largest activation.
    pub max_act: f64,
    /// Windows of text with its activation, strongest first.
    pub contexts: Vec<Context>,
}

/// A window of text with the activation of one latent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// Text of each token.
    pub tokens: Vec<String>,
    /// Activation on each token.
    pub acts: Vec<f64>,
    /// Places of tokens that the model did not see, because the mask token stood there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<u32>,
}

/// Explanations of selected features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainOutput {
    /// One for each selected feature, in their order.
    pub explanations: Vec<Explanation>,
    /// Identity of the judge, e.g. `lexical-1`.
    pub judge: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    pub latent: u32,
    /// What it stands for; `None` when the judge gave no usable answer.
    pub explanation: Option<String>,
    /// What became of the question.
    pub outcome: Outcome,
    /// Why there is none.
    pub error: Option<String>,
}

/// Generated texts of a baseline (one for each prefix) or a steer cell (feature by feature, prefix
/// by prefix).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationOutput {
    pub texts: Vec<Generation>,
}

/// One generated text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// The steered latent; `None` in a baseline.
    pub latent: Option<u32>,
    /// Index into the pool of prefixes.
    pub prefix: u32,
    /// The continuation, without its prefix, cut at the first end token.
    pub text: String,
    /// Its token ids, before the cut.
    pub tokens: Vec<i64>,
}

/// Perplexities of texts, in the order of the texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerplexityOutput {
    /// One for each text.
    pub values: Vec<Perplexity>,
}

/// Perplexity of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Perplexity {
    /// The steered latent; `None` in a baseline.
    pub latent: Option<u32>,
    /// Index into the pool of prefixes.
    pub prefix: u32,
    /// exp(mean next-token cross-entropy); `None` for a text with nothing to predict.
    pub perplexity: Option<f64>,
    /// Predicted tokens.
    pub n_tokens: u64,
}

/// Judged pairs, feature by feature, prefix by prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgeOutput {
    /// One for each steered text.
    pub pairs: Vec<PairScore>,
    /// Identity of the judge, e.g. `lexical-1`.
    pub judge: String,
    /// Whether it may be compared with the paper's judge.
    pub comparable_with_paper: bool,
}

/// How strongly an unsteered and a steered text express a concept, each 0 to 100.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairScore {
    /// The steered latent.
    pub latent: u32,
    /// Index into the pool of prefixes.
    pub prefix: u32,
    /// Score of the unsteered text.
    pub before: Option<f64>,
    /// Score of the steered text.
    pub after: Option<f64>,
    /// What became of the question, where it has no scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why there is none.
    pub error: Option<String>,
}

/// Scores of one SAE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreOutput {
    /// Scores of each selected feature.
    pub features: Vec<FeatureScore>,
    /// C (Eq. 17), mean over the selected features that have one; over all, the others as 0, with
    /// `invalid_as_zero`.
    pub concept_improvement: Estimate,
    /// P (Eq. 18), likewise.
    pub perplexity_reduction: Estimate,
    /// S = C + lambda · P (Eq. 19), likewise.
    pub steering_score: Estimate,
    /// Selected features.
    pub n_features: u64,
    /// Features with a valid C and P.
    pub n_valid: u64,
    /// Features with a valid C.
    pub n_judged: u64,
    /// Explanations and judgements without a usable answer, by what became of the question.
    pub missing: BTreeMap<String, u64>,
    /// Identity of the judge.
    pub judge: String,
    /// Whether the judge may be compared with the paper's.
    pub comparable_with_paper: bool,
    /// Values of metrics besides C, P and S.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricOutput>,
}

/// A value of a metric besides C, P and S.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricOutput {
    pub component: String,
    /// Name of the value; that of the component where it failed before it named any.
    pub metric: String,
    /// Unit, empty for a plain number.
    pub unit: String,
    /// 1 higher is better, -1 lower is better, 0 neither.
    pub direction: i32,
    /// Mean over the features that have a value.
    pub mean: Estimate,
    /// Its values of each feature.
    pub features: Vec<FeatureMetric>,
    /// Why there is no value: the metric failed. C, P and S are not touched by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A metric's value of one feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureMetric {
    pub latent: u32,
    /// The value; `None` where it is not defined.
    pub value: Option<f64>,
    /// Its standard error, where the metric gives one.
    pub std_err: Option<f64>,
    /// Samples it rests on.
    pub n: u64,
}

/// Scores of one feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureScore {
    pub latent: u32,
    /// What it stands for.
    pub explanation: Option<String>,
    /// C, `None` when no pair was judged.
    pub concept_improvement: Option<f64>,
    /// P, `None` when no perplexity was formed.
    pub perplexity_reduction: Option<f64>,
    /// S, `None` when either is missing.
    pub steering_score: Option<f64>,
    /// Pairs judged.
    pub n_pairs: u64,
}
