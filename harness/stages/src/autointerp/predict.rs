//! Stage `predict`: from a latent's explanation, the judge says which of its other windows it is
//! active in.

use std::collections::BTreeMap;

use harness_contract::{
    answers,
    outputs::{ExplainOutput, LatentWindows, PredictOutput, Prediction, Window, WindowsOutput},
    stages::PredictParams,
};
use harness_engine::error::CellError;

use crate::{
    asking::prompts,
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
    let said: BTreeMap<u32, Option<&str>> = (explained.explanations.iter())
        .map(|explanation| (explanation.latent, explanation.explanation.as_deref()))
        .collect();
    let question = |latent: &LatentWindows| {
        if let Some(why) = without_windows(latent.state) {
            return Err(why);
        }
        let explanation = said.get(&latent.latent).copied().flatten();
        let explanation = explanation.ok_or("the latent has no explanation")?;
        let windows: Vec<&Window> = latent.scored.iter().map(|scored| &scored.window).collect();
        Ok(prompts::predict_windows(
            latent.latent,
            explanation,
            &windows,
        ))
    };
    let questions = windows.latents.iter().map(question).collect();
    let read =
        |place: usize, answer: &str| answers::windows(answer, windows.latents[place].scored.len());
    let (judge, replies) = (worker.judges).ask_each(&params.judge, questions, read, progress)?;
    let predictions = (windows.latents.iter().zip(replies))
        .map(|(latent, reply)| Prediction {
            latent: latent.latent,
            predicted: reply.value,
            outcome: reply.outcome,
            error: reply.error,
        })
        .collect();
    Ok(PredictOutput {
        predictions,
        judge: judge.model,
        comparable_with_paper: judge.comparable_with_paper,
    })
}
