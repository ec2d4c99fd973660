//! Stage `judge`: how strongly unsteered and steered texts express each feature's concept.

use std::collections::BTreeMap;

use harness_contract::{
    answers,
    outputs::{ExplainOutput, GenerationOutput, JudgeOutput, PairScore},
    stages::JudgeParams,
};
use harness_engine::error::CellError;

use crate::{
    asking::prompts,
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
    let concepts: BTreeMap<u32, Option<&str>> = (explained.explanations.iter())
        .map(|explanation| (explanation.latent, explanation.explanation.as_deref()))
        .collect();
    let unsteered: BTreeMap<u32, &str> = (baseline.texts.iter())
        .map(|text| (text.prefix, text.text.as_str()))
        .collect();
    let (mut pairs, mut questions) = (Vec::new(), Vec::new());
    for text in &steered.texts {
        let (latent, prefix) = (text.latent, text.prefix);
        let latent = latent
            .ok_or_else(|| CellError::Invalid("a steered text names no latent".to_owned()))?;
        let before = unsteered.get(&prefix).ok_or_else(|| {
            CellError::Invalid(format!("the baseline has no text for prefix {prefix}"))
        })?;
        let concept = concepts.get(&latent).copied().flatten();
        let concept = concept.ok_or("the feature has no explanation");
        let id = format!("pair-{latent}-{prefix}");
        questions.push(concept.map(|it| prompts::concept_pair(id, it, before, &text.text)));
        pairs.push((latent, prefix));
    }
    let read = |_, answer: &str| answers::pair(answer);
    let (judge, replies) = (worker.judges).ask_each(&params.judge, questions, read, progress)?;
    let pairs = (pairs.into_iter().zip(replies))
        .map(|((latent, prefix), reply)| {
            let (before, after) = reply.value.unzip();
            PairScore {
                latent,
                prefix,
                before,
                after,
                outcome: reply.error.is_some().then_some(reply.outcome),
                error: reply.error,
            }
        })
        .collect();
    Ok(JudgeOutput {
        pairs,
        judge: judge.model,
        comparable_with_paper: judge.comparable_with_paper,
    })
}
