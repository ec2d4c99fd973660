use harness_sdk::{Error, Inputs, Metric, MetricSpec, MetricValue, Result, Value};
use serde::Deserialize;
use serde_json::json;

use crate::Moments;

/// Configuration of `steering_score`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ScoreConfig {
    /// Weight of P in S.
    lambda: f64,
}

impl Default for ScoreConfig {
    fn default() -> Self {
        Self { lambda: 0.3 }
    }
}

/// The other metrics have no settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoSettings {}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Which {
    Concept,
    Perplexity,
    Score { lambda: f64 },
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Self::Concept => "concept_improvement",
            Self::Perplexity => "perplexity_reduction",
            Self::Score { .. } => "steering_score",
        }
    }

    fn requires(self) -> &'static [&'static str] {
        match self {
            Self::Concept => &["score_before", "score_after"],
            Self::Perplexity => &["ppl_before", "ppl_after"],
            Self::Score { .. } => &["score_before", "score_after", "ppl_before", "ppl_after"],
        }
    }
}

/// `concept_improvement`, `perplexity_reduction` or `steering_score`.
#[derive(Clone, Debug)]
pub struct Steering {
    which: Which,
    /// Gain of the score, after - before.
    gain: Moments<1>,
    /// Perplexity before and after.
    ppl: Moments<2>,
    /// Gain, perplexity before and after, of prefixes that have all.
    both: Moments<3>,
}

impl Metric for Steering {
    fn new(name: &str, config: &Value) -> Result<Self> {
        if !config.is_object() {
            return Err(Error::config(format!(
                "metric `{name}`: {config} is not an object of settings"
            )));
        }
        let wrong = |error: serde_json::Error| Error::config(format!("metric `{name}`: {error}"));
        let plain = |which| -> Result<Which> {
            let NoSettings {} = serde_json::from_value(config.clone()).map_err(wrong)?;
            Ok(which)
        };
        let which = match name {
            "concept_improvement" => plain(Which::Concept)?,
            "perplexity_reduction" => plain(Which::Perplexity)?,
            "steering_score" => {
                let ScoreConfig { lambda } =
                    serde_json::from_value(config.clone()).map_err(wrong)?;
                Which::Score { lambda }
            }
            other => return Err(Error::unsupported(format!("no metric named `{other}`"))),
        };
        Ok(Self {
            which,
            gain: Moments::default(),
            ppl: Moments::default(),
            both: Moments::default(),
        })
    }

    fn spec(&self) -> Vec<MetricSpec> {
        vec![
            MetricSpec::new(self.which.name())
                .requires(self.which.requires())
                .direction(1),
        ]
    }

    fn update(&mut self, inputs: &Inputs<'_>) -> Result<()> {
        let names = self.which.requires();
        let columns = names
            .iter()
            .map(|name| inputs.f64(name))
            .collect::<Result<Vec<_>>>()?; // each [n]
        let n = columns[0].len();
        for (name, column) in names.iter().zip(&columns) {
            if column.len() != n {
                return Err(Error::invalid(format!(
                    "`{name}` has {} values, `{}` has {n}",
                    column.len(),
                    names[0]
                )));
            }
            // Everything is checked before anything is taken in: a refused chunk leaves the state
            // as it was.
            if let Some((i, value)) = column
                .iter()
                .enumerate()
                .find(|&(_, &value)| !in_range(name, value))
            {
                return Err(Error::invalid(format!(
                    "`{name}` at {i} is {value}: {}",
                    if name.starts_with("score") {
                        "scores lie in 0 to 100"
                    } else {
                        "a perplexity is above 0"
                    }
                )));
            }
        }
        for i in 0..n {
            self.push(columns.iter().map(|column| column[i]));
        }
        Ok(())
    }

    fn save(&self) -> Result<Value> {
        Ok(json!({
            "metric": self.which.name(),
            "gain": self.gain.save(),
            "ppl": self.ppl.save(),
            "both": self.both.save(),
        }))
    }

    fn merge(&mut self, state: &Value) -> Result<()> {
        if state["metric"] != self.which.name() {
            return Err(Error::invalid(format!(
                "a state of {}, not of `{}`",
                state["metric"],
                self.which.name()
            )));
        }
        let gain = Moments::restore(&state["gain"])?;
        let ppl = Moments::restore(&state["ppl"])?;
        let both = Moments::restore(&state["both"])?;
        self.gain.merge(&gain);
        self.ppl.merge(&ppl);
        self.both.merge(&both);
        Ok(())
    }

    fn finish(&self) -> Result<Vec<MetricValue>> {
        let (value, variance, n) = match self.which {
            Which::Concept => (self.concept(), self.concept_variance(), self.gain.n()),
            Which::Perplexity => (self.perplexity(), self.perplexity_variance(), self.ppl.n()),
            Which::Score { lambda } => (
                self.concept()
                    .zip(self.perplexity())
                    .map(|(c, p)| c + lambda * p),
                self.score_variance(lambda),
                self.gain.n().min(self.ppl.n()),
            ),
        };
        // Rounding can leave a variance of nothing slightly below 0.
        let std_err = variance.map(|variance| variance.max(0.0).sqrt());
        Ok(vec![
            MetricValue::new(self.which.name(), value, n).std_err(std_err),
        ])
    }
}

/// Missing values are in range: they are left out later.
fn in_range(name: &str, value: f64) -> bool {
    !value.is_finite()
        || if name.starts_with("score") {
            (0.0..=100.0).contains(&value)
        } else {
            value > 0.0
        }
}

impl Steering {
    /// Takes in one prefix, its values in the order of `requires`.
    fn push(&mut self, values: impl Iterator<Item = f64>) {
        let values: Vec<Option<f64>> = values.map(|v| v.is_finite().then_some(v)).collect();
        let pair = |at: usize| {
            let before = values.get(at).copied().flatten();
            before.zip(values.get(at + 1).copied().flatten())
        };
        let (score, ppl) = match self.which {
            Which::Concept => (pair(0), None),
            Which::Perplexity => (None, pair(0)),
            Which::Score { .. } => (pair(0), pair(2)),
        };
        if let Some((before, after)) = score {
            self.gain.push([after - before]);
        }
        if let Some((before, after)) = ppl {
            self.ppl.push([before, after]);
        }
        if let (Some((score_before, score_after)), Some((before, after))) = (score, ppl) {
            self.both.push([score_after - score_before, before, after]);
        }
    }

    /// C, Eq. 17.
    fn concept(&self) -> Option<f64> {
        self.gain.mean().map(|[gain]| gain / 100.0)
    }

    /// P, Eq. 18: prefixes are averaged first.
    fn perplexity(&self) -> Option<f64> {
        self.ppl
            .mean()
            .map(|[before, after]| (before - after) / before)
    }

    /// Derivative of P by the means before and after.
    fn gradient(&self) -> Option<[f64; 2]> {
        self.ppl
            .mean()
            .map(|[before, after]| [after / (before * before), -1.0 / before])
    }

    fn concept_variance(&self) -> Option<f64> {
        let variance = self.gain.covariance([0.01], [0.01])?;
        Some(variance / self.gain.n() as f64)
    }

    fn perplexity_variance(&self) -> Option<f64> {
        let gradient = self.gradient()?;
        let variance = self.ppl.covariance(gradient, gradient)?;
        Some(variance / self.ppl.n() as f64)
    }

    /// Var S = Var C + λ² Var P + 2 λ Cov(C, P); of the two means only the shared prefixes covary.
    fn score_variance(&self, lambda: f64) -> Option<f64> {
        let (c, p) = (self.concept_variance()?, self.perplexity_variance()?);
        let [by_before, by_after] = self.gradient()?;
        let shared = self
            .both
            .covariance([0.01, 0.0, 0.0], [0.0, by_before, by_after])
            .unwrap_or(0.0);
        let pairs = self.gain.n() as f64 * self.ppl.n() as f64;
        let covariance = shared * self.both.n() as f64 / pairs;
        Some(c + lambda * lambda * p + 2.0 * lambda * covariance)
    }
}

#[cfg(test)]
mod tests;
