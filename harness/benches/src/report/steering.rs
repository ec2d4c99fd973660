//! Steered texts of latents, from a steering run.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use super::{
    ReportError,
    cells::{Head, Scan, output},
};
use harness_contract::{
    outputs::{GenerationOutput, JudgeOutput, ScoreOutput},
    stages::{Stage, SteerParams},
};

/// Steered texts by SAE and latent.
#[derive(Debug, Default)]
pub struct Steering {
    by_latent: BTreeMap<(String, u32), Vec<SteeredLatent>>,
}

/// How a latent was steered and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SteeredLatent {
    /// The settings.
    pub steered: Steered,
    /// C (Eq. 17); `None` when no pair was judged.
    pub concept_improvement: Option<f64>,
    /// P (Eq. 18); `None` when no perplexity was formed.
    pub perplexity_reduction: Option<f64>,
    /// S (Eq. 19); `None` when either is missing.
    pub steering_score: Option<f64>,
    /// The texts, in the order of their prefixes.
    pub pairs: Vec<SteeredPair>,
}

/// Settings of steered texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Steered {
    /// Strength.
    pub amp_factor: f64,
    /// Steering policy.
    pub token_scope: String,
    /// Steered positions of a policy that picks some.
    pub k_scope: Option<u32>,
    /// Denoising steps; `None` for autoregressive models.
    pub dlm_steps: Option<u32>,
    /// Identity of the judge.
    pub judge: String,
}

/// An unsteered and a steered text after the same prefix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SteeredPair {
    pub prefix: String,
    /// Continuation without steering.
    pub unsteered: String,
    /// Continuation with it.
    pub steered: String,
    /// Judge's score of the unsteered text, 0 to 100.
    pub before: Option<f64>,
    /// Judge's score of the steered text, 0 to 100.
    pub after: Option<f64>,
}

impl Steering {
    /// Read the steered texts of a run.
    ///
    /// # Errors
    /// When the folder or a cell cannot be read, or no steered texts were scored in it.
    pub fn read(dir: &Path) -> Result<Steering, ReportError> {
        let scan = Scan::read(dir)?;
        let heads: BTreeMap<&str, &Head> = scan.heads.iter().map(|h| (h.key.as_str(), h)).collect();
        let mut steering = Steering::default();
        for score in scan.done(Stage::Score.name()) {
            // score reads features, judge, …; judge reads explain, baseline, steer
            let judge = score.inputs.get(1).and_then(|key| heads.get(key.as_str()));
            let Some((judge, [_, baseline, steer])) =
                judge.and_then(|judge| Some((judge, judge.inputs.first_chunk::<3>()?)))
            else {
                continue;
            };
            let params = heads
                .get(steer.as_str())
                .and_then(|head| head.params::<SteerParams>());
            if let Some(params) = params {
                let texts = Texts {
                    scores: output(dir, &score.key)?,
                    judged: output(dir, &judge.key)?,
                    baseline: output(dir, baseline)?,
                    steered: output(dir, steer)?,
                };
                steering.add(&params, &texts);
            }
        }
        if steering.by_latent.is_empty() {
            return Err(ReportError::Nothing {
                path: dir.to_owned(),
                what: "steering",
                found: scan.stages(),
            });
        }
        Ok(steering)
    }

    /// How a latent of an SAE was steered; empty when it was not.
    pub fn of(&self, sae_hash: &str, latent: u32) -> &[SteeredLatent] {
        let found = self.by_latent.get(&(sae_hash.to_owned(), latent));
        found.map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, params: &SteerParams, texts: &Texts) {
        let baseline: BTreeMap<u32, &str> = texts
            .baseline
            .texts
            .iter()
            .map(|text| (text.prefix, text.text.as_str()))
            .collect();
        let judged: BTreeMap<(u32, u32), _> = texts
            .judged
            .pairs
            .iter()
            .map(|pair| ((pair.latent, pair.prefix), pair))
            .collect();
        for score in &texts.scores.features {
            let of_latent = texts
                .steered
                .texts
                .iter()
                .filter(|text| text.latent == Some(score.latent));
            let pairs = of_latent.map(|text| {
                let pair = judged.get(&(score.latent, text.prefix));
                let prefix = params.prefixes.get(text.prefix as usize);
                SteeredPair {
                    prefix: prefix.cloned().unwrap_or_default(),
                    unsteered: baseline.get(&text.prefix).map_or("", |t| t).to_owned(),
                    steered: text.text.clone(),
                    before: pair.and_then(|pair| pair.before),
                    after: pair.and_then(|pair| pair.after),
                }
            });
            let latent = SteeredLatent {
                steered: Steered {
                    amp_factor: params.steering.amp_factor,
                    token_scope: params.steering.token_scope.name.clone(),
                    k_scope: params.steering.k_scope,
                    dlm_steps: params.generation.denoising.as_ref().map(|d| d.dlm_steps),
                    judge: texts.scores.judge.clone(),
                },
                concept_improvement: score.concept_improvement,
                perplexity_reduction: score.perplexity_reduction,
                steering_score: score.steering_score,
                pairs: pairs.collect(),
            };
            self.by_latent
                .entry((params.sae.hash.clone(), score.latent))
                .or_default()
                .push(latent);
        }
    }
}

/// Outputs of the cells behind a score.
struct Texts {
    scores: ScoreOutput,
    judged: JudgeOutput,
    baseline: GenerationOutput,
    steered: GenerationOutput,
}
