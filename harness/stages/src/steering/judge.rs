//! Stage `judge`: how strongly unsteered and steered texts express each feature's concept.

use std::collections::BTreeMap;

use harness_contract::{
    answers,
    outputs::{ExplainOutput, GenerationOutput, JudgeOutput, Outcome, PairScore},
    stages::JudgeParams,
};

use harness_engine::{error::CellError, plugin::Question};

use crate::{
    asking::{outcome_of, prompts},
    stage::{Inputs, Progress},
    worker::Worker,
};

/// Judges every pair of an unsteered and a steered text.
pub(crate) fn judge(
    worker: &mut Worker,
    params: &JudgeParams,
    inputs: &Inputs<'_>,
    progress: Progress<'_>,
) -> Result<JudgeOutput, CellError> {
    let explained: ExplainOutput = inputs.get(0)?;
    let baseline: GenerationOutput = inputs.get(1)?;
    let steered: GenerationOutput = inputs.get(2)?;
    let mut judge = worker.judges.respondent(&params.judge)?;
    let concepts: BTreeMap<u32, Option<&str>> = explained
        .explanations
        .iter()
        .map(|explanation| (explanation.latent, explanation.explanation.as_deref()))
        .collect();
    let unsteered: BTreeMap<u32, &str> = baseline
        .texts
        .iter()
        .map(|text| (text.prefix, text.text.as_str()))
        .collect();

    let mut questions: Vec<Question> = Vec::new();
    // The number of a pair's question, or why there is none.
    type Asked = Result<usize, (Outcome, String)>;
    let mut pairs: Vec<(u32, u32, Asked)> = Vec::new();
    for text in &steered.texts {
        let latent = text
            .latent
            .ok_or_else(|| CellError::Invalid("a steered text names no latent".to_owned()))?;
        let before = unsteered.get(&text.prefix).ok_or_else(|| {
            CellError::Invalid(format!(
                "the baseline has no text for prefix {}",
                text.prefix
            ))
        })?;
        let number = match concepts.get(&latent).copied().flatten() {
            Some(concept) => {
                let id = format!("pair-{latent}-{}", text.prefix);
                questions.push(prompts::concept_pair(id, concept, before, &text.text));
                Ok(questions.len() - 1)
            }
            None => Err((
                Outcome::NotAsked,
                "the feature has no explanation".to_owned(),
            )),
        };
        pairs.push((latent, text.prefix, number));
    }
    let answers = worker.judges.ask(&mut judge, &questions, progress)?;
    let pairs = pairs
        .into_iter()
        .map(|(latent, prefix, number)| {
            let scores = number.and_then(|number| match &answers[number] {
                Ok(answer) => {
                    answers::pair(&answer.text).map_err(|error| (Outcome::Unparsed, error))
                }
                Err(failure) => {
                    let outcome = outcome_of(failure, judge.identity.online);
                    Err((outcome, failure.to_string()))
                }
            });
            let (scores, why) = match scores {
                Ok(scores) => (Some(scores), None),
                Err(why) => (None, Some(why)),
            };
            let (outcome, error) = why.unzip();
            PairScore {
                latent,
                prefix,
                before: scores.map(|(before, _)| before),
                after: scores.map(|(_, after)| after),
                outcome,
                error,
            }
        })
        .collect();
    Ok(JudgeOutput {
        pairs,
        judge: judge.identity.model,
        comparable_with_paper: judge.identity.comparable_with_paper,
    })
}
