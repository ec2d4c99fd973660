//! Output of the decoding-order stage.

use harness_core::{dynamics::DynamicsSums, task::answer::Extraction};
use serde::{Deserialize, Serialize};

/// What became of some questions in one decoding order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecodingOutput {
    /// How features changed; a unit for each question, in the order of `answers`.
    pub dynamics: DynamicsSums,
    /// The answers, in the order of the sample.
    pub answers: Vec<Answer>,
    /// Lines or rows of the data files that hold no question.
    pub n_bad_rows: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The question's number in the data, from 0.
    pub question: u64,
    /// The gold answer; `None` where it could not be read, and the question is not scored.
    pub gold: Option<String>,
    /// What was generated, up to the first end token.
    pub text: String,
    /// The answer found by strict extraction.
    pub strict: Option<String>,
    /// The answer found by flexible extraction.
    pub flexible: Option<String>,
    /// Whether the strict one is right; `None` without a gold answer.
    pub strict_correct: Option<bool>,
    /// Whether the flexible one is right; `None` without a gold answer.
    pub flexible_correct: Option<bool>,
    /// Steps until the last mask was filled.
    pub steps: u32,
}

impl Answer {
    /// Whether it is right as `extraction` reads it; `None` without a gold answer.
    pub fn is_correct(&self, extraction: Extraction) -> Option<bool> {
        match extraction {
            Extraction::Strict => self.strict_correct,
            Extraction::Flexible => self.flexible_correct,
        }
    }

    /// The answer as `extraction` reads it.
    pub fn found(&self, extraction: Extraction) -> Option<&str> {
        match extraction {
            Extraction::Strict => self.strict.as_deref(),
            Extraction::Flexible => self.flexible.as_deref(),
        }
    }
}
