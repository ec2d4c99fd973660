//! Outputs of the auto-interpretation stages.

use harness_core::autointerp::Origin;
use serde::{
    Deserialize, Serialize,
    de::{
        IntoDeserializer,
        value::{self, StrDeserializer},
    },
};

pub use super::explanation_line::ExplanationLine;

/// Windows of the latents of one SAE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowsOutput {
    /// The chosen latents in the order they were chosen in, then those of labels that are not among
    /// them.
    pub latents: Vec<LatentWindows>,
    /// For each label of the documents, by name, the latent that goes best with it; empty without
    /// labels.
    pub labels: Vec<LabelLatent>,
    /// Latents of the SAE.
    pub d_sae: u64,
    /// Of them, with fewer activations than the threshold.
    pub n_dead: u64,
    /// Alive latents of the shuffle passed over because they had too few windows.
    pub n_few: u64,
    /// Rows of the pass.
    pub n_rows: u64,
    /// Positions that counted.
    pub n_tokens: u64,
    /// Of them, masked.
    pub n_masked: u64,
    /// Lines or rows of the data files that could not be used.
    pub n_bad_rows: u64,
    /// The data ended before the budget did.
    pub ended_short: bool,
    /// The share of the documents' tokens that is in rows, where the context length cuts off most
    /// of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_kept: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatentWindows {
    /// Index of the latent.
    pub latent: u32,
    /// Why it is looked at.
    pub chosen: Chosen,
    /// Whether it has windows.
    pub state: LatentState,
    /// Positions on which it is active.
    pub n_active: u64,
    /// Their share of the positions that counted.
    pub density: f64,
    /// Largest activation; 0 for one that never fired.
    pub max_act: f32,
    /// Activation above which a token is active.
    pub threshold: f32,
    /// Windows to explain it by, strongest first.
    pub shown: Vec<Window>,
    /// Windows to predict, shuffled.
    pub scored: Vec<ScoredWindow>,
    /// Activations above 0 by size: lower edge of a bin and what is in it, ascending. Bins are
    /// quarters of octaves: an edge is 2^e · (1 + j/4) and a bin ends where the next begins.
    pub histogram: Vec<(f32, u64)>,
    /// Tokens whose logits the latent's decoder row raises most, largest first.
    pub promoted: Vec<TokenLogit>,
    /// Tokens whose logits it lowers most, smallest first.
    pub suppressed: Vec<TokenLogit>,
}

/// Why a latent is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chosen {
    /// Drawn.
    Sample,
    /// Asked for.
    List,
    /// It goes best with a label; it is no part of the SAE's score.
    Label,
}

/// Whether a latent has windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatentState {
    /// It has all of them.
    Alive,
    /// It fired less often than the threshold.
    Dead,
    /// It is alive and has too few.
    FewWindows,
}

/// A window of text with the activations of one latent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// How it was found.
    pub origin: Origin,
    /// Row of the pass, from 0.
    pub row: u64,
    /// Position of its middle in the row.
    pub position: u32,
    /// Text of each token. Where a token was masked it is the token of the text, which the model
    /// did not see: the mask token alone says nothing of what the latent stands for.
    pub tokens: Vec<String>,
    /// Activation on each token.
    pub acts: Vec<f32>,
    /// Places in the window of tokens that were masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<u32>,
}

/// A window to predict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredWindow {
    #[serde(flatten)]
    pub window: Window,
    /// Whether the latent is active in it: one activation is above its threshold.
    pub active: bool,
}

/// A token with the change of its logit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogit {
    pub token: String,
    /// Logit of the decoder row through the final norm and the head, above the mean over the
    /// vocabulary.
    pub logit: f32,
}

/// The latent that goes best with a label: the largest F1 of "fires in the document" as a test for
/// the label, among those alive with all windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelLatent {
    pub label: String,
    /// Documents that have it.
    pub n_documents: u64,
    pub latent: u32,
    /// Share of the documents it fires in that have the label.
    pub precision: f64,
    /// Share of the label's documents it fires in.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A usable answer.
    Answered,
    /// There was nothing to ask: a latent without windows or explanation.
    NotAsked,
    /// An answer that is not what was asked for.
    Unparsed,
    /// The judge's model declined.
    Refused,
    /// An offline judge has no answer.
    Failed,
    /// A filter in front of the judge's model turned the question away.
    ContentFilter,
    /// The question is longer than the judge's model takes.
    TooLong,
    /// The judge's server answers no more for now.
    RateLimited,
    /// The judge's server gave no answer.
    NoAnswer,
    /// The judge's server turned the question away for another reason.
    Rejected,
}

impl Outcome {
    /// As tables and cells say it.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::NotAsked => "not_asked",
            Outcome::Unparsed => "unparsed",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::ContentFilter => "content_filter",
            Outcome::TooLong => "too_long",
            Outcome::RateLimited => "rate_limited",
            Outcome::NoAnswer => "no_answer",
            Outcome::Rejected => "rejected",
        }
    }

    /// The outcome of a name.
    pub fn of_name(name: &str) -> Option<Outcome> {
        let name: StrDeserializer<'_, value::Error> = name.into_deserializer();
        Outcome::deserialize(name).ok()
    }

    /// Whether it says nothing of the judge's answer: the same question is asked again.
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Outcome::ContentFilter
                | Outcome::TooLong
                | Outcome::RateLimited
                | Outcome::NoAnswer
                | Outcome::Rejected
        )
    }
}

/// Predictions of one SAE's latents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictOutput {
    /// One for each latent, in their order.
    pub predictions: Vec<Prediction>,
    /// Identity of the judge, e.g. `lexical-1`.
    pub judge: String,
    /// Whether it may be compared with the paper's judge.
    pub comparable_with_paper: bool,
}

/// Which windows a latent was predicted to be active in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    pub latent: u32,
    /// Places in [`LatentWindows::scored`], ascending; `None` without a usable answer.
    pub predicted: Option<Vec<u32>>,
    /// What became of the question.
    pub outcome: Outcome,
    /// Why there is no usable answer.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_by_the_names_they_are_written_with() {
        for outcome in [
            Outcome::Answered,
            Outcome::NotAsked,
            Outcome::ContentFilter,
            Outcome::TooLong,
            Outcome::RateLimited,
            Outcome::NoAnswer,
            Outcome::Rejected,
        ] {
            assert_eq!(Outcome::of_name(outcome.name()), Some(outcome));
        }
        assert_eq!(Outcome::of_name("closed"), None);
    }
}
