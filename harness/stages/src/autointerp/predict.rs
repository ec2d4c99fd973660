//! Stage `predict`: from a latent's explanation, the judge says which of its other windows it is
//! active in.

use std::collections::BTreeMap;

use harness_contract::{
    answers,
    outputs::{ExplainOutput, Outcome, PredictOutput, Prediction, Window, WindowsOutput},
    stages::PredictParams,
};

use harness_engine::{error::CellError, plugin::Question};

use crate::{
    asking::{next_of, prompts},
    explain::without_windows,
    stage::{Inputs, Progress},
    worker::Worker,
};

/// Asks for every latent that has windows and an explanation.
pub(crate) fn predict(
    worker: &mut Worker,
    params: &PredictParams,
    inputs: &Inputs<'_>,
    progress: Progress<'_>,
) -> Result<PredictOutput, CellError> {
    let windows: WindowsOutput = inputs.get(0)?;
    let explained: ExplainOutput = inputs.get(1)?;
    let mut judge = worker.judges.respondent(&params.judge)?;
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
                let windows: Vec<&Window> =
                    latent.scored.iter().map(|scored| &scored.window).collect();
                questions.push(prompts::predict_windows(
                    latent.latent,
                    explanation,
                    &windows,
                ));
                None
            }
        });
    }
    let mut given = worker
        .judges
        .ask(&mut judge, &questions, progress)?
        .into_iter();
    let predictions = windows
        .latents
        .iter()
        .zip(not_asked)
        .map(|(latent, not_asked)| {
            let n = latent.scored.len();
            let said = match not_asked {
                Some(why) => Err((Outcome::NotAsked, why.to_owned())),
                None => next_of(&mut given, judge.identity.online).and_then(|answer| {
                    answers::windows(&answer.text, n).map_err(|error| (Outcome::Unparsed, error))
                }),
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
