//! Stage `score`: C, P and S of every feature through the metric plugins, and their means over the
//! SAE.

use std::collections::BTreeMap;

use harness_contract::{
    outputs::{
        ExplainOutput, FeatureMetric, FeatureScore, FeaturesOutput, JudgeOutput, MetricOutput,
        Outcome, PairScore, PerplexityOutput, ScoreOutput,
    },
    stages::{METRIC_INPUTS, STEERING_VALUES, ScoreParams},
};
use harness_core::{
    stats::{Bootstrap, Estimate},
    steering::{InvalidFeatures, SteeringScores, sae_scores},
};
use harness_engine::{
    error::CellError,
    plugin::{MetricSpec, MetricValue, Registry},
};
use serde_json::json;

use crate::{
    assets::none,
    stage::{Inputs, Progress},
    worker::Worker,
};

/// The metric that weighs P by lambda (Eq. 19).
const STEERING_SCORE: &str = "steering_score";

/// The values a metric is given for one feature, one for each prefix; NaN where there is none.
#[derive(Default)]
struct Prefixes {
    score_before: Vec<f64>,
    score_after: Vec<f64>,
    ppl_before: Vec<f64>,
    ppl_after: Vec<f64>,
}

impl Prefixes {
    /// By the names of [`harness_contract::stages::METRIC_INPUTS`].
    fn inputs(&self) -> [(&str, &[f64]); 4] {
        let of = |name| match name {
            "score_before" => &self.score_before,
            "score_after" => &self.score_after,
            "ppl_before" => &self.ppl_before,
            _ => &self.ppl_after,
        };
        METRIC_INPUTS.map(|(name, _)| (name, of(name).as_slice()))
    }
}

/// What a score is formed from.
struct Scored {
    features: FeaturesOutput,
    judged: JudgeOutput,
    /// Of the unsteered texts and of the steered ones; `None` without a scorer.
    perplexities: Option<(PerplexityOutput, PerplexityOutput)>,
    explained: ExplainOutput,
}

impl Scored {
    fn read(inputs: &Inputs<'_>) -> Result<Self, CellError> {
        let (features, judged) = (inputs.get(0)?, inputs.get(1)?);
        // Without a scorer there are no perplexities among the inputs.
        let (perplexities, explained) = match inputs.cell.inputs.len() {
            3 => (None, inputs.get(2)?),
            _ => (Some((inputs.get(2)?, inputs.get(3)?)), inputs.get(4)?),
        };
        Ok(Self {
            features,
            judged,
            perplexities,
            explained,
        })
    }

    /// What metrics are given of each feature that was judged.
    ///
    /// # Errors
    /// Judged pairs and perplexities that are not of the same texts.
    fn by_feature(&self) -> Result<BTreeMap<u32, Prefixes>, CellError> {
        let pairs = &self.judged.pairs;
        let unsteered: BTreeMap<u32, Option<f64>> = (self.perplexities.iter())
            .flat_map(|(before, _)| &before.values)
            .map(|value| (value.prefix, value.perplexity))
            .collect();
        let after = self.perplexities.as_ref().map(|(_, after)| &after.values);
        if let Some(after) = after.filter(|after| after.len() != pairs.len()) {
            return Err(CellError::Invalid(format!(
                "{} judged pairs and {} perplexities of steered texts",
                pairs.len(),
                after.len()
            )));
        }
        let nan = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let mut features: BTreeMap<u32, Prefixes> = BTreeMap::new();
        for (i, pair) in pairs.iter().enumerate() {
            let steered = after.map(|after| &after[i]);
            if steered.is_some_and(|s| (s.latent, s.prefix) != (Some(pair.latent), pair.prefix)) {
                return Err(CellError::Invalid(format!(
                    "the judged pair of latent {} and prefix {} does not stand beside its perplexity",
                    pair.latent, pair.prefix
                )));
            }
            let feature = features.entry(pair.latent).or_default();
            feature.score_before.push(nan(pair.before));
            feature.score_after.push(nan(pair.after));
            let before = unsteered.get(&pair.prefix).copied().flatten();
            feature.ppl_before.push(nan(before));
            feature
                .ppl_after
                .push(nan(steered.and_then(|s| s.perplexity)));
        }
        Ok(features)
    }

    /// A selected feature with its scores.
    fn feature(&self, latent: u32, scores: SteeringScores) -> FeatureScore {
        let explained = (self.explained.explanations.iter()).find(|e| e.latent == latent);
        let pairs = (self.judged.pairs.iter()).filter(|pair| pair.latent == latent);
        FeatureScore {
            latent,
            explanation: explained.and_then(|e| e.explanation.clone()),
            concept_improvement: scores.concept_improvement,
            perplexity_reduction: scores.perplexity_reduction,
            steering_score: scores.steering_score,
            n_pairs: pairs.filter(|pair| is_judged(pair)).count() as u64,
        }
    }
}

/// Forms C, P and S.
pub(crate) fn score(
    worker: &mut Worker,
    params: &ScoreParams,
    inputs: &Inputs<'_>,
    _: Progress<'_>,
) -> Result<ScoreOutput, CellError> {
    let scored = Scored::read(inputs)?;
    let prefixes = scored.by_feature()?;
    let metrics = measure(&worker.registry, params, &prefixes)?;
    let latents = || scored.features.features.iter().map(|f| f.latent);
    let scores = latents()
        .map(|latent| match prefixes.contains_key(&latent) {
            true => metrics.scores(latent),
            false => Ok(SteeringScores::default()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let bootstrap = Bootstrap {
        resamples: params.resamples,
        seed: params.seed,
    };
    let invalid = match params.invalid_as_zero {
        true => InvalidFeatures::Zero,
        false => InvalidFeatures::LeftOut,
    };
    let has_perplexities = scored.perplexities.is_some();
    let means = sae_scores(&scores, has_perplexities, invalid, bootstrap);
    // Without perplexities there is no P and no S, whatever the others count as.
    let of_perplexities = |mean: Estimate| match has_perplexities {
        true => mean,
        false => Estimate {
            n: Some(0),
            ..Estimate::default()
        },
    };
    Ok(ScoreOutput {
        features: (latents().zip(scores))
            .map(|(latent, scores)| scored.feature(latent, scores))
            .collect(),
        concept_improvement: means.concept_improvement,
        perplexity_reduction: of_perplexities(means.perplexity_reduction),
        steering_score: of_perplexities(means.steering_score),
        n_features: means.n_features as u64,
        n_valid: if has_perplexities {
            means.n_valid as u64
        } else {
            0
        },
        n_judged: means.n_judged as u64,
        missing: missing(&scored.explained, &scored.judged),
        judge: scored.judged.judge.clone(),
        comparable_with_paper: scored.judged.comparable_with_paper,
        metrics: metrics.others(bootstrap),
    })
}

/// What all metrics say of all features. One that gives C, P or S must work; another fails
/// alone.
fn measure(
    registry: &Registry,
    params: &ScoreParams,
    rows: &BTreeMap<u32, Prefixes>,
) -> Result<Measured, CellError> {
    let mut measured = Measured::default();
    for metric in &params.metrics {
        // Only S has a weight; C and P take no configuration, and neither do others.
        let config = if metric.name == STEERING_SCORE {
            json!({ "lambda": params.lambda })
        } else {
            none()
        };
        let specs = match registry.metric(&metric.name, &config) {
            Ok(instance) => instance.spec(),
            Err(error) if is_needed(&metric.name) => return Err(error.into()),
            Err(error) => {
                let named = MetricSpec {
                    name: metric.name.clone(),
                    unit: String::new(),
                    direction: 0,
                    requires: Vec::new(),
                };
                measured.failed(&metric.name, vec![named], error.to_string());
                continue;
            }
        };
        let of_feature = |prefixes: &Prefixes| -> Result<Vec<MetricValue>, CellError> {
            let mut instance = registry.metric(&metric.name, &config)?;
            instance.update(&prefixes.inputs())?;
            Ok(instance.finish()?)
        };
        let values: Result<BTreeMap<u32, Vec<MetricValue>>, CellError> = rows
            .iter()
            .map(|(latent, prefixes)| Ok((*latent, of_feature(prefixes)?)))
            .collect();
        match values {
            Ok(values) => measured.add(&metric.name, specs, &values),
            Err(error) if specs.iter().any(|spec| is_needed(&spec.name)) => return Err(error),
            Err(error) => measured.failed(&metric.name, specs, error.to_string()),
        }
    }
    Ok(measured)
}

/// Whether this is C, P or S.
fn is_needed(name: &str) -> bool {
    STEERING_VALUES.contains(&name)
}

/// What the metrics of a cell say.
#[derive(Default)]
struct Measured {
    /// C, P and S of each feature.
    needed: BTreeMap<(u32, String), Option<f64>>,
    others: Vec<Other>,
}

/// A value besides C, P and S.
struct Other {
    component: String,
    spec: MetricSpec,
    features: Vec<FeatureMetric>,
    error: Option<String>,
}

impl Measured {
    /// Adds a metric that has values of every feature, in the order of its specification.
    fn add(
        &mut self,
        component: &str,
        specs: Vec<MetricSpec>,
        values: &BTreeMap<u32, Vec<MetricValue>>,
    ) {
        for (place, spec) in specs.into_iter().enumerate() {
            let of_place = values
                .iter()
                .filter_map(|(latent, all)| Some((*latent, all.get(place)?)));
            if is_needed(&spec.name) {
                self.needed.extend(
                    of_place.map(|(latent, value)| ((latent, spec.name.clone()), value.value)),
                );
                continue;
            }
            let features = of_place
                .map(|(latent, value)| FeatureMetric {
                    latent,
                    value: value.value,
                    std_err: value.std_err,
                    n: value.n,
                })
                .collect();
            self.others.push(Other {
                component: component.to_owned(),
                spec,
                features,
                error: None,
            });
        }
    }

    /// Adds a metric that has failed.
    fn failed(&mut self, component: &str, specs: Vec<MetricSpec>, error: String) {
        self.others.extend(specs.into_iter().map(|spec| Other {
            component: component.to_owned(),
            spec,
            features: Vec::new(),
            error: Some(error.clone()),
        }));
    }

    /// C, P and S of a feature.
    fn scores(&self, latent: u32) -> Result<SteeringScores, CellError> {
        let value = |name: &str| {
            let value = self.needed.get(&(latent, name.to_owned()));
            value.copied().ok_or_else(|| {
                CellError::Invalid(format!("none of the bench's metrics computes `{name}`"))
            })
        };
        Ok(SteeringScores {
            concept_improvement: value("concept_improvement")?,
            perplexity_reduction: value("perplexity_reduction")?,
            steering_score: value(STEERING_SCORE)?,
        })
    }

    /// The other values, with their means over the features that have one.
    fn others(self, bootstrap: Bootstrap) -> Vec<MetricOutput> {
        let output = |other: Other| {
            let values: Vec<f64> = (other.features.iter())
                .filter_map(|feature| feature.value)
                .collect();
            MetricOutput {
                component: other.component,
                metric: other.spec.name,
                unit: other.spec.unit,
                direction: other.spec.direction,
                mean: Estimate::of_mean(&values, bootstrap),
                features: other.features,
                error: other.error,
            }
        };
        self.others.into_iter().map(output).collect()
    }
}

fn is_judged(pair: &PairScore) -> bool {
    pair.before.is_some() && pair.after.is_some()
}

/// Explanations and judgements without a usable answer, by what became of the question. A pair of a
/// feature that has no explanation was no question.
fn missing(explained: &ExplainOutput, judged: &JudgeOutput) -> BTreeMap<String, u64> {
    let explanations = (explained.explanations.iter())
        .filter(|explanation| explanation.explanation.is_none())
        .map(|explanation| explanation.outcome);
    let pairs = (judged.pairs.iter())
        .filter(|pair| !is_judged(pair))
        .filter_map(|pair| pair.outcome)
        .filter(|outcome| *outcome != Outcome::NotAsked);
    let mut counts = BTreeMap::new();
    for outcome in explanations.chain(pairs) {
        *counts.entry(outcome.name().to_owned()).or_default() += 1;
    }
    counts
}
