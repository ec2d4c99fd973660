//! A metric: the mean gain of the judge's score, steered less unsteered, with its standard error.
//!
//! Updates may come in pieces and states are merged, so keep sums, not means of means.

use harness_sdk::{Inputs, Metric, MetricSpec, MetricValue, Result, Value};
use serde_json::json;

/// Count, sum and sum of squares.
#[derive(Default)]
struct Mean {
    n: u64,
    sum: f64,
    squares: f64,
}

impl Metric for Mean {
    fn new(_name: &str, config: &Value) -> Result<Self> {
        if config.as_object().is_none_or(|keys| !keys.is_empty()) {
            return Err(harness_sdk::Error::config(format!(
                "this metric takes no settings, not {config}"
            )));
        }
        Ok(Self::default())
    }

    fn spec(&self) -> Vec<MetricSpec> {
        // What a bench gives is in the documentation of `harness_sdk::Metric`.
        vec![
            MetricSpec::new("template")
                .requires(&["score_before", "score_after"])
                .unit("points")
                .direction(1),
        ]
    }

    fn update(&mut self, inputs: &Inputs<'_>) -> Result<()> {
        let (before, after) = (inputs.f64("score_before")?, inputs.f64("score_after")?);
        if before.len() != after.len() {
            return Err(harness_sdk::Error::invalid(format!(
                "score_before has {} values and score_after {}",
                before.len(),
                after.len()
            )));
        }
        // NaN is a missing value: its pair is left out, and `n` says how many count.
        let gains = before
            .iter()
            .zip(after)
            .map(|(before, after)| after - before);
        for x in gains.filter(|x| x.is_finite()) {
            self.n += 1;
            self.sum += x;
            self.squares += x * x;
        }
        Ok(())
    }

    fn save(&self) -> Result<Value> {
        Ok(json!({"n": self.n, "sum": self.sum, "squares": self.squares}))
    }

    fn merge(&mut self, state: &Value) -> Result<()> {
        let (Some(n), Some(sum), Some(squares)) = (
            state["n"].as_u64(),
            state["sum"].as_f64(),
            state["squares"].as_f64(),
        ) else {
            return Err(harness_sdk::Error::invalid("a state of another metric"));
        };
        self.n += n;
        self.sum += sum;
        self.squares += squares;
        Ok(())
    }

    fn finish(&self) -> Result<Vec<MetricValue>> {
        let n = self.n as f64;
        let mean = (self.n > 0).then(|| self.sum / n);
        let std_err = mean.filter(|_| self.n > 1).map(|mean| {
            let variance = (self.squares - n * mean * mean) / (n - 1.0);
            (variance.max(0.0) / n).sqrt()
        });
        Ok(vec![
            MetricValue::new("template", mean, self.n).std_err(std_err),
        ])
    }
}

harness_sdk::export_plugin! {
    id: "template",
    components: [ metric "template" => Mean: "mean gain of the judge's score with its standard error" ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_sdk::View;

    fn fed(values: &[f64]) -> Mean {
        let mut metric = Mean::new("template", &json!({})).unwrap();
        let shape = [values.len() as i64];
        let zeros = vec![0.0; values.len()];
        let inputs = Inputs::new(vec![
            ("score_before", View::of_f64(&zeros, &shape).unwrap()),
            ("score_after", View::of_f64(values, &shape).unwrap()),
        ]);
        metric.update(&inputs).unwrap();
        metric
    }

    #[test]
    fn merging_is_one_update() {
        let mut metric = fed(&[1.0, 2.0, f64::NAN]);
        let other = fed(&[6.0, 7.0, f64::NAN]);
        metric.merge(&other.save().unwrap()).unwrap();
        let got = metric.finish().unwrap().remove(0);
        assert_eq!((got.value, got.n), (Some(4.0), 4));
        // Variance (9 + 4 + 4 + 9) / 3, over 4 values.
        assert!((got.std_err.unwrap() - (26.0_f64 / 12.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn nothing_has_no_mean() {
        let empty = Mean::default().finish().unwrap().remove(0);
        assert_eq!((empty.value, empty.std_err, empty.n), (None, None, 0));
    }
}
