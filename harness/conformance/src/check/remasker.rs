//! The laws of remaskers. The host's handle itself refuses positions that are not eligible and
//! masks left after the last step, so running is testing those.
//!
//! A remasker that reads SAE features gets made-up ones before every step: with ties, with places
//! without a value, and none at all in the first pass, as the host gives them.

use harness_engine::plugin::{FeatureTensors, Remasker, StepTensors};
use serde_json::json;
use tch::{Kind, Tensor};

use super::{
    data::{Guarded, same_bits, uniform},
    subject::{Named, Subject},
    verdict::{Checked, Ended, ensure, ensure_refused, no_panic, unknown},
};

mod step;

use step::{Step, masks, reads_features, select};

pub(super) const TESTS: &[Named] = &[
    (
        "complete",
        "each mask is revealed once, and none is left after the last step",
    ),
    ("rows", "a row's positions do not depend on other rows"),
    ("deterministic", "the same run reveals the same positions"),
    ("inputs", "inputs come back as they were"),
    ("shapes", "tensors of another rank or shape are refused"),
    (
        "features",
        "SAE features are asked for before they count, and missed where they do not come",
    ),
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
        "features" => features(&mut remasker),
        "odd" => odd(&mut remasker),
        other => unknown(other),
    }
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
        let data = Step::new(step, rows, len);
        let reveal = select(remasker, &data, &data.view(step, n_steps, &eligible))?;
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
    // The second step's draws, whose features have values.
    let step = Step::new(1, &[0, 4], 20);
    let eligible = masks(&[0, 4], 20);
    let names = [
        "tokens",
        "candidate",
        "confidence",
        "margin",
        "neg_entropy",
        "uniform",
        "jaccard",
        "top1_same",
    ];
    let guarded = [
        &step.tokens,
        &step.candidate,
        &step.confidence,
        &step.margin,
        &step.neg_entropy,
        &step.uniform,
        &step.jaccard,
        &step.top1_same,
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
    if reads_features(remasker) {
        remasker.features(&FeatureTensors {
            jaccard: &views[6],
            top1_same: &views[7],
            ..step.features(0)
        })?;
    }
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
    ensure_refused("a step of rank 3", select(remasker, &step, &bad))?;
    let wide = uniform("remasker/wide", &[2, 13]);
    remasker.begin(2, 2)?;
    let bad = StepTensors {
        confidence: Some(&wide),
        ..step.view(0, 2, &eligible)
    };
    ensure_refused(
        "a `confidence` wider than `tokens`",
        select(remasker, &step, &bad),
    )
}

/// Features that were not asked for change nothing; those that were are checked and may not be left
/// out.
fn features(remasker: &mut Remasker) -> Checked {
    if !reads_features(remasker) {
        return features_unasked(remasker);
    }
    let (first, step) = (Step::new(0, &[0, 1], 12), Step::new(1, &[0, 1], 12));
    let eligible = masks(&[0, 1], 12);

    remasker.begin(3, 2)?;
    ensure_refused(
        "a step without the features it needs",
        remasker.select(&first.view(0, 3, &eligible)),
    )?;
    remasker.begin(3, 2)?;
    let reveal = select(remasker, &first, &first.view(0, 3, &eligible))?;
    let eligible = &eligible - reveal;
    ensure_refused(
        "a step whose features are those of the step before",
        remasker.select(&step.view(1, 3, &eligible)),
    )?;

    let flat = step.jaccard.reshape([3, 24]);
    let fewer = step.jaccard.narrow(0, 0, 2);
    let wide = Tensor::zeros([3, 2, 13], (Kind::Float, tch::Device::Cpu));
    let more = Tensor::zeros([3, 3, 12], (Kind::Float, tch::Device::Cpu));
    let good = || step.features(0);
    for (what, bad) in [
        (
            "`jaccard` of rank 2",
            FeatureTensors {
                jaccard: &flat,
                ..good()
            },
        ),
        (
            "`jaccard` of fewer layers than are named",
            FeatureTensors {
                jaccard: &fewer,
                ..good()
            },
        ),
        (
            "`top1_same` wider than `jaccard`",
            FeatureTensors {
                top1_same: &wide,
                ..good()
            },
        ),
        (
            "features of more rows than the step has",
            FeatureTensors {
                jaccard: &more,
                top1_same: &more,
                ..good()
            },
        ),
        (
            "features of more positions than the step has",
            FeatureTensors {
                jaccard: &wide,
                top1_same: &wide,
                ..good()
            },
        ),
    ] {
        remasker.begin(3, 2)?;
        let taken = remasker.features(&bad);
        let result = taken.and_then(|()| remasker.select(&step.view(0, 3, &eligible)));
        ensure_refused(what, result)?;
    }
    Ok(())
}

fn features_unasked(remasker: &mut Remasker) -> Checked {
    let (rows, len, n_steps) = ([0, 3], 16, 4);
    let without = denoise(remasker, n_steps, &rows, len)?;
    remasker.begin(n_steps, rows.len())?;
    let mut eligible = masks(&rows, len);
    for (step, alone) in without.iter().enumerate() {
        let data = Step::new(step, &rows, len);
        remasker.features(&data.features(step))?;
        let reveal = remasker.select(&data.view(step, n_steps, &eligible))?;
        ensure(same_bits(&reveal, alone), || {
            format!("features that were not asked for change what step {step} reveals")
        })?;
        eligible -= &reveal;
    }
    Ok(())
}

fn odd(remasker: &mut Remasker) -> Checked {
    no_panic("0 steps", remasker.begin(0, 1))?;
    no_panic("0 rows", remasker.begin(3, 0))?;
    remasker.begin(2, 1)?;
    let nothing = masks(&[30], 12);
    let step = Step::new(0, &[0], 12);
    no_panic(
        "a row without masks",
        select(remasker, &step, &step.view(0, 2, &nothing)),
    )?;
    let eligible = masks(&[0], 12);
    let nan = Tensor::full([1, 12], f64::NAN, (Kind::Float, tch::Device::Cpu));
    remasker.begin(2, 1)?;
    let strange = StepTensors {
        confidence: Some(&nan),
        margin: Some(&nan),
        neg_entropy: Some(&nan),
        ..step.view(0, 2, &eligible)
    };
    // In the first step no feature has a value either.
    no_panic("statistics of NaN", select(remasker, &step, &strange))?;
    remasker.begin(2, 1)?;
    no_panic(
        "a step past the last",
        select(remasker, &step, &step.view(7, 2, &eligible)),
    )?;
    let huge = Tensor::full([3, 1, 12], f64::INFINITY, (Kind::Float, tch::Device::Cpu));
    let bare = Tensor::zeros([0, 1, 12], (Kind::Float, tch::Device::Cpu));
    for (what, odd) in [
        (
            "infinite features",
            FeatureTensors {
                jaccard: &huge,
                top1_same: &huge,
                ..step.features(0)
            },
        ),
        (
            "features of no layer",
            FeatureTensors {
                layers: &[],
                jaccard: &bare,
                top1_same: &bare,
                ..step.features(0)
            },
        ),
    ] {
        no_panic("a run", remasker.begin(2, 1))?;
        no_panic(what, remasker.features(&odd))?;
        let result = remasker.select(&step.view(0, 2, &eligible));
        no_panic(&format!("a step after {what}"), result)?;
    }
    no_panic("a run after all that", remasker.begin(2, 1))
}
