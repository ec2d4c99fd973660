//! The laws of remaskers. The host's handle itself refuses positions that are not eligible and masks left after the
//! last step, so running is testing those.

use serde_json::json;
use tch::{Kind, Tensor};

use super::{
    data::{Guarded, integers, same_bits, uniform},
    job::{Subject, unknown},
    list::Named,
    verdict::{Checked, Ended, ensure, ensure_refused, no_panic},
};
use crate::plugin::{Remasker, StepTensors};

pub(super) const TESTS: &[Named] = &[
    (
        "complete",
        "each mask is revealed once, and none is left after the last step",
    ),
    ("rows", "a row's positions do not depend on other rows"),
    ("deterministic", "the same run reveals the same positions"),
    ("inputs", "inputs come back as they were"),
    ("shapes", "tensors of another rank or shape are refused"),
    ("odd", "odd inputs give an error or a result, no panic"),
];

pub(super) fn run(test: &str, subject: &Subject<'_>) -> Checked {
    let mut remasker = subject.registry.remasker(subject.name, &json!({}))?;
    match test {
        "complete" => complete(&mut remasker),
        "rows" => rows(&mut remasker),
        "deterministic" => deterministic(&mut remasker),
        "inputs" => inputs(&mut remasker),
        "shapes" => shapes(&mut remasker),
        "odd" => odd(&mut remasker),
        other => unknown(other),
    }
}

/// Statistics of one step, `[b, t]`; row `r` of a run is row `first + r` of the same endless batch.
struct Step {
    tokens: Tensor,
    candidate: Tensor,
    confidence: Tensor,
    margin: Tensor,
    neg_entropy: Tensor,
    uniform: Tensor,
}

impl Step {
    fn new(step: usize, rows: &[usize], len: i64) -> Self {
        let each = |what: &str, make: &dyn Fn(&str) -> Tensor| {
            let made: Vec<Tensor> = rows
                .iter()
                .map(|row| make(&format!("remasker/{what}/{step}/{row}")))
                .collect();
            Tensor::stack(&made, 0)
        };
        let draw = |purpose: &str| uniform(purpose, &[len]);
        Self {
            tokens: each("tokens", &|purpose| integers(purpose, 100, &[len])),
            candidate: each("candidate", &|purpose| integers(purpose, 100, &[len])),
            confidence: each("confidence", &draw),
            margin: each("margin", &draw),
            neg_entropy: each("neg_entropy", &draw) * -3.0,
            uniform: each("uniform", &draw),
        }
    }

    fn view<'a>(&'a self, step: usize, n_steps: usize, eligible: &'a Tensor) -> StepTensors<'a> {
        StepTensors {
            step,
            n_steps,
            tokens: &self.tokens,
            eligible,
            candidate: &self.candidate,
            confidence: Some(&self.confidence),
            margin: Some(&self.margin),
            neg_entropy: Some(&self.neg_entropy),
            uniform: Some(&self.uniform),
        }
    }
}

/// Masks of some rows at the start: row `r` holds them at every position from `r` on. `[b, t] u8`
fn masks(rows: &[usize], len: i64) -> Tensor {
    let rows: Vec<Tensor> = rows
        .iter()
        .map(|&row| {
            let row = row as i64;
            Tensor::arange(len, (Kind::Int64, tch::Device::Cpu))
                .ge(row)
                .to_kind(Kind::Uint8)
        })
        .collect();
    Tensor::stack(&rows, 0)
}

/// Runs all steps; returns what each reveals, `[b, t] u8`.
fn denoise(
    remasker: &mut Remasker,
    n_steps: usize,
    rows: &[usize],
    len: i64,
) -> Result<Vec<Tensor>, Ended> {
    remasker.begin(n_steps, rows.len())?;
    let mut eligible = masks(rows, len);
    let mut revealed = Vec::new();
    for step in 0..n_steps {
        let reveal = remasker.select(&Step::new(step, rows, len).view(step, n_steps, &eligible))?;
        eligible -= &reveal;
        revealed.push(reveal);
    }
    let left = eligible.sum(Kind::Int64).int64_value(&[]);
    ensure(left == 0, || {
        format!("{left} positions are left after {n_steps} steps")
    })?;
    Ok(revealed)
}

fn complete(remasker: &mut Remasker) -> Checked {
    for n_steps in [1, 2, 5, 30, 47] {
        let revealed = denoise(remasker, n_steps, &[0, 3, 29, 30], 30)?;
        let total: i64 = revealed
            .iter()
            .map(|reveal| reveal.sum(Kind::Int64).int64_value(&[]))
            .sum();
        ensure(total == 30 + 27 + 1, || {
            format!("{total} of 58 masks are revealed in {n_steps} steps")
        })?;
    }
    Ok(())
}

fn rows(remasker: &mut Remasker) -> Checked {
    for n_steps in [4, 30] {
        let together = denoise(remasker, n_steps, &[0, 7, 13], 30)?;
        for (at, row) in [0, 7, 13].into_iter().enumerate() {
            let alone = denoise(remasker, n_steps, &[row], 30)?;
            for (step, (both, one)) in together.iter().zip(&alone).enumerate() {
                ensure(same_bits(&both.narrow(0, at as i64, 1), one), || {
                    format!(
                        "row {at} of 3 reveals other positions at step {step} of {n_steps} than alone"
                    )
                })?;
            }
        }
    }
    Ok(())
}

fn deterministic(remasker: &mut Remasker) -> Checked {
    let first = denoise(remasker, 9, &[0, 5], 24)?;
    let second = denoise(remasker, 9, &[0, 5], 24)?;
    let differs = (0..9).find(|&step| !same_bits(&first[step], &second[step]));
    ensure(differs.is_none(), || {
        format!("step {differs:?} of the same run reveals other positions the second time")
    })
}

fn inputs(remasker: &mut Remasker) -> Checked {
    let step = Step::new(0, &[0, 4], 20);
    let eligible = masks(&[0, 4], 20);
    let names = [
        "tokens",
        "candidate",
        "confidence",
        "margin",
        "neg_entropy",
        "uniform",
    ];
    let guarded = [
        &step.tokens,
        &step.candidate,
        &step.confidence,
        &step.margin,
        &step.neg_entropy,
        &step.uniform,
    ]
    .map(Guarded::new);
    let views: Vec<Tensor> = guarded.iter().map(Guarded::view).collect();
    remasker.begin(3, 2)?;
    let given = StepTensors {
        step: 0,
        n_steps: 3,
        tokens: &views[0],
        eligible: &eligible,
        candidate: &views[1],
        confidence: Some(&views[2]),
        margin: Some(&views[3]),
        neg_entropy: Some(&views[4]),
        uniform: Some(&views[5]),
    };
    drop(remasker.select(&given)?);
    for (name, guarded) in names.iter().zip(&guarded) {
        guarded.unchanged(name)?;
    }
    Ok(())
}

fn shapes(remasker: &mut Remasker) -> Checked {
    let step = Step::new(0, &[0, 1], 12);
    let eligible = masks(&[0, 1], 12);
    let good = step.view(0, 2, &eligible);
    remasker.begin(2, 2)?;
    let (tokens, flags) = (step.tokens.unsqueeze(-1), eligible.unsqueeze(-1));
    let bad = StepTensors {
        tokens: &tokens,
        eligible: &flags,
        ..good
    };
    ensure_refused("a step of rank 3", remasker.select(&bad))?;
    let wide = uniform("remasker/wide", &[2, 13]);
    remasker.begin(2, 2)?;
    let bad = StepTensors {
        confidence: Some(&wide),
        ..step.view(0, 2, &eligible)
    };
    ensure_refused("a `confidence` wider than `tokens`", remasker.select(&bad))
}

fn odd(remasker: &mut Remasker) -> Checked {
    no_panic("0 steps", remasker.begin(0, 1))?;
    no_panic("0 rows", remasker.begin(3, 0))?;
    remasker.begin(2, 1)?;
    let nothing = masks(&[30], 12);
    no_panic(
        "a row without masks",
        remasker.select(&Step::new(0, &[0], 12).view(0, 2, &nothing)),
    )?;
    let eligible = masks(&[0], 12);
    let step = Step::new(0, &[0], 12);
    let nan = Tensor::full([1, 12], f64::NAN, (Kind::Float, tch::Device::Cpu));
    remasker.begin(2, 1)?;
    let strange = StepTensors {
        confidence: Some(&nan),
        margin: Some(&nan),
        neg_entropy: Some(&nan),
        ..step.view(0, 2, &eligible)
    };
    no_panic("statistics of NaN", remasker.select(&strange))?;
    remasker.begin(2, 1)?;
    no_panic(
        "a step past the last",
        remasker.select(&step.view(7, 2, &eligible)),
    )?;
    no_panic("a run after all that", remasker.begin(2, 1))
}
