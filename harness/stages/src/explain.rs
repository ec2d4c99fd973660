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
use harness_engine::error::CellError;
use serde::Deserialize;

use crate::{
    asking::prompts,
    stage::{Inputs, Progress},
    worker::Worker,
};

/// What is explained: the features that were selected, or the latents whose windows were
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
    let subjects = subjects(&explained);
    let background = background(&subjects);
    let question = |subject: &Subject| match subject.not_asked {
        Some(why) => Err(why),
        None => {
            let Subject {
                latent,
                contexts,
                threshold,
                ..
            } = subject;
            Ok(prompts::explain(*latent, contexts, *threshold, &background))
        }
    };
    let questions = subjects.iter().map(question).collect();
    let read = |_, answer: &str| answers::explanation(answer);
    let (judge, replies) = (worker.judges).ask_each(judge, questions, read, progress)?;
    let explanations = (subjects.iter().zip(replies))
        .map(|(subject, reply)| Explanation {
            latent: subject.latent,
            explanation: reply.value,
            outcome: reply.outcome,
            error: reply.error,
        })
        .collect();
    Ok(ExplainOutput {
        explanations,
        judge: judge.model,
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
