//! Stage `predict`: from a latent's explanation, the judge says which of its other windows it is active in.

use std::collections::BTreeMap;

use harness_plan::{
    outputs::{ExplainOutput, Outcome, PredictOutput, Prediction, WindowsOutput},
    stages::PredictParams,
};
use serde::Deserialize;

use super::{
    CellError, Progress, Session,
    explain::{next_of, parse_answer, without_windows},
    prompts,
};
use crate::plugin::{Answer, Question};

/// An answer to `PREDICT_WINDOWS`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Active {
    active: Vec<u64>,
}

impl Session {
    /// Asks for every latent that has windows and an explanation.
    pub(super) fn predict(
        &mut self,
        params: &PredictParams,
        windows: &WindowsOutput,
        explained: &ExplainOutput,
        progress: Progress<'_>,
    ) -> Result<PredictOutput, CellError> {
        let mut judge = self.respondent(&params.judge)?;
        let said: BTreeMap<u32, Option<&str>> = explained
            .explanations
            .iter()
            .map(|explanation| (explanation.latent, explanation.explanation.as_deref()))
            .collect();
        let mut questions: Vec<Question> = Vec::new();
        let mut not_asked: Vec<Option<&'static str>> = Vec::new();
        for latent in &windows.latents {
            let explanation = said.get(&latent.latent).copied().flatten();
            let why = without_windows(latent.state);
            not_asked.push(match (why, explanation) {
                (Some(why), _) => Some(why),
                (None, None) => Some("the latent has no explanation"),
                (None, Some(explanation)) => {
                    let texts: Vec<String> = (latent.scored.iter())
                        .map(|scored| scored.window.tokens.concat())
                        .collect();
                    questions.push(prompts::predict_windows(latent.latent, explanation, &texts));
                    None
                }
            });
        }
        let mut answers = self.ask(&mut judge, &questions, progress)?.into_iter();
        let predictions = windows
            .latents
            .iter()
            .zip(not_asked)
            .map(|(latent, not_asked)| {
                let n = latent.scored.len();
                let said = match not_asked {
                    Some(why) => Err((Outcome::NotAsked, why.to_owned())),
                    None => next_of(&mut answers).and_then(|answer| read(&answer, n)),
                };
                let (predicted, outcome, error) = match said {
                    Ok(predicted) => (Some(predicted), Outcome::Answered, None),
                    Err((outcome, error)) => (None, outcome, Some(error)),
                };
                Prediction {
                    latent: latent.latent,
                    predicted,
                    outcome,
                    error,
                }
            })
            .collect();
        Ok(PredictOutput {
            predictions,
            judge: judge.identity.model,
            comparable_with_paper: judge.identity.comparable_with_paper,
        })
    }
}

/// The windows in an answer, ascending. One named twice counts once; one that is not among the `n` makes the answer unusable, as does
/// anything that is no whole number.
fn read(answer: &Answer, n: usize) -> Result<Vec<u32>, (Outcome, String)> {
    let unusable = |error: String| (Outcome::Unparsed, error);
    let mut active = parse_answer::<Active>(&answer.text)
        .map_err(unusable)?
        .active;
    active.sort_unstable();
    active.dedup();
    match active.last().filter(|last| **last >= n as u64) {
        Some(out) => Err(unusable(format!(
            "window {out} out of range: {n} were shown, numbered from 0"
        ))),
        None => Ok(active.into_iter().map(|place| place as u32).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<u32>, (Outcome, String)> {
        let answer = Answer {
            text: text.to_owned(),
            tokens_in: 0,
            tokens_out: 0,
        };
        read(&answer, 14)
    }

    #[test]
    fn answers_name_windows_or_are_unusable() {
        assert!(read_text(r#"{"active": []}"#).unwrap().is_empty());
        assert_eq!(
            read_text(r#"{"active": [13, 0, 2, 0]}"#).unwrap(),
            [0, 2, 13]
        );
        for bad in [
            r#"{"active": [14]}"#,
            r#"{"active": [1.0]}"#,
            r#"{"active": [-1]}"#,
            r#"{"active": ["1"]}"#,
            r#"{"active": null}"#,
            r#"{"active": [1], "sure": true}"#,
            r#"{"windows": [1]}"#,
            "none",
            "1, 2",
        ] {
            let (outcome, error) = read_text(bad).unwrap_err();
            assert_eq!(outcome, Outcome::Unparsed, "{bad}");
            assert!(!error.is_empty());
        }
        let (_, error) = read_text(r#"{"active": [2, 14]}"#).unwrap_err();
        assert_eq!(
            error,
            "window 14 out of range: 14 were shown, numbered from 0"
        );
    }
}
