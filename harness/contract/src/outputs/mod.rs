//! What the stages leave in the store. A missing value is `null` with a reason beside it, never 0
//! or -1.

mod autointerp;
mod decoding;
mod explanation_line;
mod fidelity;
mod steering;

pub use autointerp::{
    Chosen, LabelLatent, LatentState, LatentWindows, Outcome, PredictOutput, Prediction,
    ScoredWindow, TokenLogit, Window, WindowsOutput,
};
pub use decoding::{Answer, DecodingOutput};
pub use explanation_line::ExplanationLine;
pub use fidelity::{FidelityOutput, Rollout, RolloutOutput};
pub use steering::{
    Context, ExplainOutput, Explanation, Feature, FeatureMetric, FeatureScore, FeaturesOutput,
    Generation, GenerationOutput, JudgeOutput, MetricOutput, PairScore, Perplexity,
    PerplexityOutput, ScoreOutput,
};

/// Whether a count may be left out.
fn is_zero(n: &u64) -> bool {
    *n == 0
}
