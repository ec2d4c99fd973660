//! Stage `explain`: the judge says what each selected feature stands for.

use std::collections::BTreeMap;

use harness_abi::ErrorCode;
use harness_plan::{
    outputs::{ExplainOutput, Explanation, FeaturesOutput, Outcome},
    stages::{ExplainParams, GivenExplanation},
};
use serde::Deserialize;

use super::{CellError, Progress, Session, prompts};
use crate::plugin::{Answer, PluginFailure, Question};

/// An answer to `EXPLAIN`.
#[derive(Deserialize)]
struct Explained {
    explanation: String,
}

impl Session {
    /// Explains the selected features.
    pub(super) fn explain(
        &mut self,
        params: &ExplainParams,
        features: &FeaturesOutput,
        progress: Progress<'_>,
    ) -> Result<ExplainOutput, CellError> {
        let judge = match params {
            ExplainParams::Asked { judge } => judge,
            ExplainParams::Given {
                explanations,
                judge,
            } => return Ok(given(explanations, judge)),
        };
        let mut judge = self.respondent(judge)?;
        let background = background(features);
        let questions: Vec<Question> = features
            .features
            .iter()
            .map(|feature| prompts::explain(feature, &background))
            .collect();
        let answers = self.ask(&mut judge, &questions, progress)?;
        let explanations = features
            .features
            .iter()
            .zip(answers)
            .map(|(feature, answer)| {
                let (explanation, outcome, error) = match read(answer) {
                    Ok(text) => (Some(text), Outcome::Answered, None),
                    Err((outcome, error)) => (None, outcome, Some(error)),
                };
                Explanation {
                    latent: feature.latent,
                    explanation,
                    outcome,
                    error,
                }
            })
            .collect();
        Ok(ExplainOutput {
            explanations,
            judge: judge.identity.model,
        })
    }
}

/// Explanations of an earlier run.
fn given(explanations: &[GivenExplanation], judge: &str) -> ExplainOutput {
    ExplainOutput {
        explanations: explanations
            .iter()
            .map(|given| Explanation {
                latent: given.latent,
                explanation: Some(given.explanation.clone()),
                outcome: Outcome::Answered,
                error: None,
            })
            .collect(),
        judge: judge.to_owned(),
    }
}

/// The explanation in an answer, or what became of the question and why.
fn read(answer: Result<Answer, PluginFailure>) -> Result<String, (Outcome, String)> {
    let answer = answer.map_err(|failure| (outcome_of(&failure), failure.to_string()))?;
    let explained = parse_answer::<Explained>(&answer.text);
    let text = explained
        .map_err(|error| (Outcome::Unparsed, error))?
        .explanation;
    if text.trim().is_empty() {
        return Err((Outcome::Unparsed, "an empty explanation".to_owned()));
    }
    Ok(text)
}

/// What a failed question counts as.
pub(super) fn outcome_of(failure: &PluginFailure) -> Outcome {
    match failure.code {
        ErrorCode::REFUSED => Outcome::Refused,
        ErrorCode::UNUSABLE => Outcome::Unparsed,
        _ => Outcome::Failed,
    }
}

/// Words of all contexts, in lower case, with their counts.
fn background(features: &FeaturesOutput) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for context in features
        .features
        .iter()
        .flat_map(|feature| &feature.contexts)
    {
        let text = context.tokens.concat().to_lowercase();
        for word in text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
        {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Reads a judge's JSON answer; one fenced as Markdown is accepted, anything else is an error with its beginning.
pub(super) fn parse_answer<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let trimmed = text.trim();
    let inner = trimmed
        .strip_prefix("```json")
        .or_else(|| trimmed.strip_prefix("```"))
        .and_then(|rest| rest.strip_suffix("```"))
        .unwrap_or(trimmed);
    serde_json::from_str(inner.trim()).map_err(|error| {
        let start: String = text.chars().take(60).collect();
        format!("the answer cannot be read: {error}; it begins `{start}`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_plain_and_fenced_and_nothing_else() {
        let read =
            |text: &str| parse_answer::<Explained>(text).map(|explained| explained.explanation);
        assert_eq!(read(r#"{"explanation": "boats"}"#).unwrap(), "boats");
        assert_eq!(
            read("```json\n{\"explanation\": \"boats\"}\n```").unwrap(),
            "boats"
        );
        assert!(read("boats").unwrap_err().contains("begins `boats`"));
        assert!(read(r#"{"explanation": 3}"#).is_err());
    }
}
