//! The stages and the parameters of their cells.
//!
//! Steering ([`steering`]):
//!
//! ```text
//! features ──► explain ─────────────┤
//!     └──────► steer ──► perplexity ├─► score
//! baseline ──────┬─────► perplexity │
//!                └─────► judge ─────┘      (judge reads explain, baseline and steer)
//! ```
//! Explanations are apart from the selection of features, and judgements apart from generation:
//! another judge never generates again. The features of all SAEs of a model are found in one pass
//! over the text.
//!
//! Fidelity ([`fidelity`]):
//!
//! ```text
//! [rollout ──►] fidelity      (one cell for each SAE and shard of the text)
//! ```
//! Fidelity cells of one group (the same model, text and masks) are run together: they share the
//! clean pass and all blocks below the insertion points.
//!
//! Decoding orders ([`decoding`]): one cell `decoding` for each order and part of the questions; it
//! reads no other.
//!
//! Auto-interpretation ([`autointerp`]):
//!
//! ```text
//! windows ──► explain ──► predict      (predict reads both)
//! ```
//! The windows of all SAEs of a model are found in one pass over the text.

pub mod autointerp;
pub mod decoding;
pub mod fidelity;
mod refs;
pub mod steering;

pub use autointerp::{LatentChoice, PREDICT_MAX_TOKENS, PredictParams, WindowsParams};
pub use decoding::{DecodingParams, QuestionsRef};
pub use fidelity::{
    Corruption, DocumentPolicy, FidelityParams, GridText, Measures, RolloutParams, ShardRef,
};
pub use harness_core::dtype::Dtype;
pub use refs::{
    CorpusRef, DenoisingParams, FixedMasks, GenerationParams, JudgeRef, MAX_BAD_ROWS, ModelRef,
    Numerics, PluginRef, Positions, SaeRef, Shown,
};
pub use steering::{
    BaselineParams, EXPLAIN_MAX_TOKENS, ExplainParams, FeatureChoice, FeaturesParams,
    GivenExplanation, JudgeParams, METRIC_INPUTS, PAIR_MAX_TOKENS, PerplexityParams,
    STEERING_VALUES, ScoreParams, SteerParams, SteeringParams,
};

/// What the stages leave in the store. A missing value is `null` with a reason beside it, never 0
/// or -1.
pub mod outputs {
    pub use super::{
        autointerp::outputs::*, decoding::outputs::*, fidelity::outputs::*, steering::outputs::*,
    };

    /// Whether a count may be left out.
    pub(super) fn is_zero(n: &u64) -> bool {
        *n == 0
    }
}

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Writes the types of the stages from the list of them: a stage, the type of its parameters, its
/// name and the version of what it computes.
macro_rules! stages {
    ($($(#[$doc:meta])* $stage:ident($params:ty) = $name:literal version $version:literal,)*) => {
        /// A stage. Its version is part of every key: raise it when the stage computes something
        /// else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Stage {
            $($(#[$doc])* $stage,)*
        }

        impl Stage {
            /// All stages, in an order in which every stage follows those it reads.
            pub const ALL: [Stage; [$(Stage::$stage),*].len()] = [$(Stage::$stage),*];

            /// Its name in cells and messages.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Stage::$stage => $name,)*
                }
            }

            /// Version of what it computes.
            pub const fn version(self) -> u32 {
                match self {
                    $(Stage::$stage => $version,)*
                }
            }
        }

        /// Everything that a cell of one of the stages needs besides its inputs.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "stage", content = "params")]
        pub enum Params {
            $(#[serde(rename = $name)] $stage($params),)*
        }

        impl Params {
            /// The stage that takes them.
            pub const fn stage(&self) -> Stage {
                match self {
                    $(Params::$stage(_) => Stage::$stage,)*
                }
            }

            /// Their JSON form, as cells hold it.
            ///
            /// # Errors
            /// When they have none.
            pub fn to_value(&self) -> Result<Value, serde_json::Error> {
                match self {
                    $(Params::$stage(params) => serde_json::to_value(params),)*
                }
            }
        }

        $(impl StageParams for $params {
            fn of(params: &Params) -> Option<&Self> {
                match params {
                    Params::$stage(params) => Some(params),
                    _ => None,
                }
            }
        }

        impl From<$params> for Params {
            fn from(params: $params) -> Params {
                Params::$stage(params)
            }
        })*
    };
}

/// The type of one stage's parameters.
pub trait StageParams: Into<Params> {
    /// The parameters as this type, if they are of its stage.
    fn of(params: &Params) -> Option<&Self>;
}

stages! {
    /// [`FeaturesParams`] → [`crate::outputs::FeaturesOutput`]; inputs: none.
    // 2: peaks have whole windows and are apart as those of stage windows; rows are not cut at the
    // budget.
    Features(FeaturesParams) = "features" version 2,
    /// [`WindowsParams`] → [`crate::outputs::WindowsOutput`]; inputs: none.
    Windows(WindowsParams) = "windows" version 1,
    /// [`ExplainParams`] → [`crate::outputs::ExplainOutput`]; inputs: features, or windows.
    Explain(ExplainParams) = "explain" version 1,
    /// [`PredictParams`] → [`crate::outputs::PredictOutput`]; inputs: windows, explain.
    Predict(PredictParams) = "predict" version 1,
    /// [`BaselineParams`] → [`crate::outputs::GenerationOutput`]; inputs: none.
    Baseline(BaselineParams) = "baseline" version 1,
    /// [`SteerParams`] → [`crate::outputs::GenerationOutput`]; inputs: features.
    Steer(SteerParams) = "steer" version 1,
    /// [`PerplexityParams`] → [`crate::outputs::PerplexityOutput`]; inputs: one baseline or steer
    /// cell.
    Perplexity(PerplexityParams) = "perplexity" version 1,
    /// [`JudgeParams`] → [`crate::outputs::JudgeOutput`]; inputs: explain, baseline, steer.
    Judge(JudgeParams) = "judge" version 1,
    /// [`ScoreParams`] → [`crate::outputs::ScoreOutput`]; inputs: features, judge, perplexity of
    /// the baseline, perplexity of the steered texts, explain.
    // 2: C, P and S are means over the features that have both C and P.
    Score(ScoreParams) = "score" version 2,
    /// [`RolloutParams`] → [`crate::outputs::RolloutOutput`]; inputs: none.
    Rollout(RolloutParams) = "rollout" version 1,
    /// [`FidelityParams`] → [`crate::outputs::FidelityOutput`]; inputs: none, or one rollout cell.
    Fidelity(FidelityParams) = "fidelity" version 1,
    /// [`DecodingParams`] → [`crate::outputs::DecodingOutput`]; inputs: none.
    // 2: answers are read by other rules (`harness_core::task::answer`).
    Decoding(DecodingParams) = "decoding" version 2,
}

impl Stage {
    pub const fn asks_judge(self) -> bool {
        matches!(self, Stage::Explain | Stage::Predict | Stage::Judge)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Stage::ALL
            .into_iter()
            .find(|stage| stage.name() == name)
            .ok_or_else(|| format!("unknown stage `{name}`"))
    }
}

impl Params {
    /// The parameters of one stage, if they are of it.
    pub fn get<P: StageParams>(&self) -> Option<&P> {
        P::of(self)
    }

    /// The model the stage runs; `None` for stages that run none.
    pub const fn model(&self) -> Option<&ModelRef> {
        match self {
            Params::Features(params) => Some(&params.model),
            Params::Windows(params) => Some(&params.model),
            Params::Baseline(params) => Some(&params.model),
            Params::Steer(params) => Some(&params.model),
            Params::Perplexity(params) => Some(&params.model),
            Params::Rollout(params) => Some(&params.model),
            Params::Fidelity(params) => Some(&params.model),
            Params::Decoding(params) => Some(&params.model),
            Params::Explain(_) | Params::Predict(_) | Params::Judge(_) | Params::Score(_) => None,
        }
    }

    /// The SAEs the stage runs; none for stages that run none.
    pub fn saes(&self) -> &[SaeRef] {
        match self {
            Params::Features(params) => std::slice::from_ref(&params.sae),
            Params::Windows(params) => std::slice::from_ref(&params.sae),
            Params::Steer(params) => std::slice::from_ref(&params.sae),
            Params::Fidelity(params) => std::slice::from_ref(&params.sae),
            Params::Decoding(params) => &params.saes,
            _ => &[],
        }
    }

    /// The parameters in which cells that are run together may differ, for stages that share work
    /// between cells; `None` for the others.
    pub(crate) const fn apart(&self) -> Option<&'static [&'static str]> {
        match self {
            Params::Fidelity(_) => Some(&["sae"]),
            Params::Windows(_) => Some(&["sae", "latents"]),
            Params::Features(_) => Some(&["sae", "choice"]),
            _ => None,
        }
    }

    /// Content hashes of the data files that the stage reads, and the tokens of a row at most where
    /// it reads rows; `None` for stages that read no files.
    pub fn files(&self) -> Option<(&[String], Option<u32>)> {
        match self {
            Params::Features(FeaturesParams { corpus, .. }) => {
                Some((&corpus.files, Some(corpus.context_length)))
            }
            Params::Windows(WindowsParams { text, .. })
            | Params::Fidelity(FidelityParams {
                text: GridText::Files(text),
                ..
            }) => Some((&text.files, Some(text.context_length))),
            Params::Rollout(params) => Some((&params.files, None)),
            Params::Decoding(params) => Some((&params.questions.files, None)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for stage in Stage::ALL {
            assert_eq!(stage.name().parse::<Stage>().unwrap(), stage);
        }
        assert!("scores".parse::<Stage>().is_err());
    }
}
