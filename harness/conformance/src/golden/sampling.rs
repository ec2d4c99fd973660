//! `units/sampling.safetensors`: token choice, confidences and filters on recorded logits.

use std::path::Path;

use harness_engine::generate::sampling::{
    Choices, Needed, Sampling, SamplingRule, choose, filter_logits, noisy_logits,
};
use tch::Tensor;

use super::compare::{self, Tolerance};
use super::fixture::{Array, Tensors};
use super::forward::Failed;
use super::report::Recorder;

/// Probabilities are float32 and the sums behind them may run in another order.
const PROBABILITY: Tolerance = Tolerance {
    atol: 2e-6,
    rtol: 2e-5,
};
/// Noisy logits are float64.
const DOUBLE: Tolerance = Tolerance {
    atol: 0.0,
    rtol: 1e-12,
};

/// Which recorded mode uses which filter and statistic.
const MODES: [(&str, Option<f64>, Option<usize>, Statistic); 6] = [
    ("plain", None, None, Statistic::Confidence),
    ("margin", None, None, Statistic::Margin),
    ("neg_entropy", None, None, Statistic::NegEntropy),
    ("top_p", Some(0.8), None, Statistic::Confidence),
    ("top_k", None, Some(5), Statistic::Confidence),
    ("top_p_entropy", Some(0.6), None, Statistic::NegEntropy),
];

#[derive(Clone, Copy)]
enum Statistic {
    Confidence,
    Margin,
    NegEntropy,
}

impl Statistic {
    fn of(self, choices: &Choices) -> &[f32] {
        match self {
            Self::Confidence => &choices.confidence,
            Self::Margin => &choices.margin,
            Self::NegEntropy => &choices.neg_entropy,
        }
    }
}

/// Runs the sampler of every generation on the recorded logits.
pub(super) fn run(record: &mut Recorder<'_>, dir: &Path) {
    record.attempt("units/sampling", |record| {
        let Some(tensors) = Tensors::open(&dir.join("sampling.safetensors"))? else {
            record.skipped("units/sampling", "the folder has no sampling.safetensors");
            return Ok::<(), Failed>(());
        };
        let logits = tensors.floats("logits")?.tensor()?; // [n, v]
        for (mode, top_p, top_k, statistic) in MODES {
            let sampling = Sampling {
                top_p,
                top_k,
                ..Sampling::greedy(SamplingRule::NucleusFirst)
            };
            if tensors.has(&format!("{mode}.x0")) {
                let all = Needed {
                    confidence: true,
                    margin: true,
                    neg_entropy: true,
                };
                let (got, _) = Choices::read(&[choose(&logits, &sampling, all, &[])?], &[])?;
                one_mode(record, &tensors, mode, &got, statistic)?;
            }
        }
        for name in tensors.names() {
            if let Some(value) = between(name, "top_p_", ".logits").and_then(|v| v.parse().ok()) {
                filtered(record, &tensors, &logits, name, Some(value), None)?;
            } else if let Some(value) =
                between(name, "top_k_", ".logits").and_then(|v| v.parse().ok())
            {
                filtered(record, &tensors, &logits, name, None, Some(value))?;
            } else if let Some(temperature) =
                between(name, "gumbel.noisy_", "").and_then(|v| v.parse().ok())
            {
                let uniform = tensors.floats("gumbel.uniform")?;
                let shape: Vec<i64> = uniform.shape.iter().map(|n| *n as i64).collect();
                let uniform = Tensor::f_from_slice(&uniform.data)?.f_reshape(shape)?;
                let got = Array::of(&noisy_logits(&logits, &uniform, temperature)?)?;
                record.compared(
                    &format!("units/sampling.{name}"),
                    compare::floats(&got, &tensors.floats(name)?, None, DOUBLE),
                );
            }
        }
        let unread = tensors.unread();
        if !unread.is_empty() {
            record.skipped(
                "units/sampling.unread",
                &format!("recorded tensors have no check: {}", unread.join(", ")),
            );
        }
        Ok(())
    });
}

fn one_mode(
    record: &mut Recorder<'_>,
    tensors: &Tensors,
    mode: &str,
    got: &Choices,
    statistic: Statistic,
) -> Result<(), Failed> {
    let want = tensors.integers(&format!("{mode}.x0"))?;
    let token = Array::column(got.token.clone());
    record.compared(
        &format!("units/sampling.{mode}.x0"),
        compare::integers(&token, &want, None),
    );
    let want = tensors.floats(&format!("{mode}.confidence"))?;
    let values = statistic.of(got);
    let values = Array::column(values.iter().map(|v| f64::from(*v)).collect());
    record.compared(
        &format!("units/sampling.{mode}.confidence"),
        compare::floats(&values, &want, None, PROBABILITY),
    );
    Ok(())
}

fn filtered(
    record: &mut Recorder<'_>,
    tensors: &Tensors,
    logits: &Tensor,
    name: &str,
    top_p: Option<f64>,
    top_k: Option<usize>,
) -> Result<(), Failed> {
    let sampling = Sampling {
        top_p,
        top_k,
        ..Sampling::greedy(SamplingRule::NucleusFirst)
    };
    let got = Array::of(&filter_logits(logits, &sampling)?)?;
    let outcome = compare::floats(&got, &tensors.floats(name)?, None, Tolerance::EXACT);
    record.compared(&format!("units/sampling.{name}"), outcome);
    Ok(())
}

/// What `name` has between `prefix` and `suffix`.
fn between<'a>(name: &'a str, prefix: &str, suffix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix)?.strip_suffix(suffix)
}
