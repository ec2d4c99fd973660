//! Stage `explain`: the judge says what each selected feature, or each latent with windows, stands
//! for.

use std::collections::BTreeMap;

use harness_contract::{
    answers,
    outputs::{
        Context, ExplainOutput, Explanation, FeaturesOutput, LatentState, Outcome, WindowsOutput,
    },
    stages::{ExplainParams, GivenExplanation},
};
use harness_engine::{
    error::CellError,
    plugin::{Answer, Question},
};
use serde::Deserialize;

use crate::{
    asking::{next_of, prompts},
    stage::{Inputs, Progress},
    worker::Worker,
};

/// What is explained: the features a steering bench has chosen, or the latents whose windows were
/// found.
#[derive(Deserialize)]
#[serde(untagged)]
enum Explainable {
    Features(FeaturesOutput),
    Windows(WindowsOutput),
}

/// One latent with what it is explained by.
struct Subject {
    latent: u32,
    /// Strongest first.
    contexts: Vec<Context>,
    /// Activation above which a token is marked.
    threshold: f64,
    /// Why there is nothing to ask.
    not_asked: Option<&'static str>,
}

/// Explains features or latents.
pub(crate) fn explain(
    worker: &mut Worker,
    params: &ExplainParams,
    inputs: &Inputs<'_>,
    progress: Progress<'_>,
) -> Result<ExplainOutput, CellError> {
    let explained: Explainable = inputs.get(0)?;
    let judge = match params {
        ExplainParams::Asked { judge } => judge,
        ExplainParams::Given {
            explanations,
            judge,
        } => return Ok(given(explanations, judge)),
    };
    let mut judge = worker.judges.respondent(judge)?;
    let subjects = subjects(&explained);
    let background = background(&subjects);
    let questions: Vec<Question> = subjects
        .iter()
        .filter(|subject| subject.not_asked.is_none())
        .map(|subject| {
            let Subject {
                latent,
                contexts,
                threshold,
                ..
            } = subject;
            prompts::explain(*latent, contexts, *threshold, &background)
        })
        .collect();
    let mut answers = worker
        .judges
        .ask(&mut judge, &questions, progress)?
        .into_iter();
    let explanations = subjects
        .iter()
        .map(|subject| {
            let said = match subject.not_asked {
                Some(why) => Err((Outcome::NotAsked, why.to_owned())),
                None => next_of(&mut answers, judge.identity.online).and_then(read),
            };
            let (explanation, outcome, error) = match said {
                Ok(text) => (Some(text), Outcome::Answered, None),
                Err((outcome, error)) => (None, outcome, Some(error)),
            };
            Explanation {
                latent: subject.latent,
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

fn subjects(explained: &Explainable) -> Vec<Subject> {
    match explained {
        Explainable::Features(features) => (features.features.iter())
            .map(|feature| Subject {
                latent: feature.latent,
                contexts: feature.contexts.clone(),
                threshold: 0.01 * feature.max_act,
                not_asked: feature
                    .contexts
                    .is_empty()
                    .then_some("the latent is active nowhere in the text"),
            })
            .collect(),
        Explainable::Windows(windows) => (windows.latents.iter())
            .map(|latent| Subject {
                latent: latent.latent,
                contexts: (latent.shown.iter())
                    .map(|window| Context {
                        tokens: window.tokens.clone(),
                        acts: window.acts.iter().map(|act| f64::from(*act)).collect(),
                        masked: window.masked.clone(),
                    })
                    .collect(),
                threshold: f64::from(latent.threshold),
                not_asked: without_windows(latent.state),
            })
            .collect(),
    }
}

/// Why a latent has no windows; `None` when it has.
pub(crate) fn without_windows(state: LatentState) -> Option<&'static str> {
    match state {
        LatentState::Alive => None,
        LatentState::Dead => Some("the latent is dead"),
        LatentState::FewWindows => Some("the latent has too few windows"),
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
fn read(answer: Answer) -> Result<String, (Outcome, String)> {
    answers::explanation(&answer.text).map_err(|error| (Outcome::Unparsed, error))
}

/// Words of all contexts, in lower case, with their counts.
fn background(subjects: &[Subject]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for context in subjects.iter().flat_map(|subject| &subject.contexts) {
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
