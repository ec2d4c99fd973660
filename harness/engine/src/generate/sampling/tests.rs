use proptest::prelude::*;
use tch::{Kind, Tensor};

use super::*;

const RULES: [SamplingRule; 3] = [
    SamplingRule::NucleusFirst,
    SamplingRule::TopKFirst,
    SamplingRule::Noise,
];
const EVERYTHING: Needed = Needed {
    confidence: true,
    margin: true,
    neg_entropy: true,
};

fn logits(n: usize, v: usize, seed: u64, spread: f64) -> Tensor {
    let stream = harness_core::rng::Stream::new(seed, "logits");
    let values: Vec<f32> = (0..n * v)
        .map(|i| (spread * stream.normal_at(i as u64)) as f32)
        .collect();
    Tensor::from_slice(&values).view([n as i64, v as i64])
}

fn close(a: &[f32], b: &[f32]) -> bool {
    // Both sums run over float32 probabilities; their roundings differ.
    a.iter()
        .zip(b)
        .all(|(a, b)| (a - b).abs() <= 2e-6 + 2e-5 * b.abs())
}

type Form =
    fn(&Tensor, &Sampling, Needed, &[f64]) -> Result<Packed, crate::generate::GenerateError>;

fn chosen(
    form: Form,
    logits: &Tensor,
    sampling: &Sampling,
    needed: Needed,
    draws: &[f64],
) -> Choices {
    let packed = form(logits, sampling, needed, draws).unwrap();
    Choices::read(&[packed], &[]).unwrap().0
}

/// Logits as models make them, with many equal ones, with few that count, with removed tokens, and
/// far apart.
fn awkward(n: usize, v: usize, seed: u64, spread: f64, shape: usize) -> Tensor {
    let plain = logits(n, v, seed, spread);
    match shape {
        0 => plain,
        1 => (plain * 2.0).round() / 2.0,
        2 => plain * 300.0,
        3 => {
            let removed = logits(n, v, seed + 1, 1.0).gt(1.0);
            // A row always keeps a token.
            let _ = removed.narrow(1, 0, 1).fill_(0);
            plain.masked_fill(&removed, f64::NEG_INFINITY)
        }
        _ => plain.sign() * 1e30,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn all_forms_choose_alike(
        seed in 0u64..u64::MAX - 1, v in prop_oneof![1usize..90, 90usize..300], spread in 0.1f64..6.0, shape in 0usize..5,
        temperature in prop_oneof![Just(0.0), 0.2f64..2.0], top_p in prop::option::of(0.05f64..1.0),
        top_k in prop::option::of(0usize..50), rule in 0usize..3,
    ) {
        let sampling = Sampling { temperature, top_p, top_k, rule: RULES[rule] };
        let logits = awkward(7, v, seed, spread, shape);
        let draws: Vec<f64> = (0..7).map(|i| harness_core::rng::Stream::new(seed, "u").uniform_at(i)).collect();
        let rows = chosen(choose, &logits, &sampling, EVERYTHING, &draws);
        prop_assert_eq!(rows.broken, None);
        prop_assert!(rows.open.is_empty());
        for form in [choose_by_tensors as Form, choose_by_sort] {
            let tensors = chosen(form, &logits, &sampling, EVERYTHING, &draws);
            prop_assert_eq!(tensors.broken, None);
            // Only many equal tokens leave a row open, and the caller settles it by the sort.
            prop_assert!(tensors.open.is_empty() || [1, 4].contains(&shape) || spread < 0.2);
            for row in (0..7).filter(|row| !tensors.open.contains(row)) {
                prop_assert_eq!(rows.token[row], tensors.token[row]);
                for (a, b) in [
                    (&rows.confidence, &tensors.confidence),
                    (&rows.margin, &tensors.margin),
                    (&rows.neg_entropy, &tensors.neg_entropy),
                ] {
                    prop_assert!(close(&a[row..=row], &b[row..=row]), "{:?} {:?}", a, b);
                }
            }
        }
        // What is not asked for changes nothing else.
        let bare = chosen(choose, &logits, &sampling, Needed::default(), &draws);
        prop_assert_eq!(bare.token, rows.token);
        prop_assert!(bare.confidence.iter().all(|c| *c == 0.0));
    }
}

/// Which tokens are kept is not settled where the last one selected equals the last one kept: more
/// equal ones may follow it.
#[test]
fn a_selection_is_open_where_more_tokens_are_equal_than_it_looks_at() {
    let logits = Tensor::zeros([2, 100], (Kind::Float, tch::Device::Cpu));
    let _ = logits.narrow(0, 0, 1).narrow(1, 3, 5).fill_(1.0);
    let sampling = Sampling {
        temperature: 1.0,
        top_p: None,
        top_k: Some(5),
        rule: SamplingRule::NucleusFirst,
    };
    let got = chosen(
        choose_by_tensors,
        &logits,
        &sampling,
        EVERYTHING,
        &[0.5, 0.5],
    );
    assert_eq!((got.token[0], got.open), (5, vec![1]));
    assert_eq!(
        chosen(choose_by_sort, &logits, &sampling, EVERYTHING, &[0.5, 0.5]).token[1],
        50
    );
}

#[test]
fn equal_logits_choose_the_lowest_id() {
    let logits = Tensor::from_slice(&[1.0f32, 3.0, 3.0, 3.0, 0.0]).view([1, 5]);
    for rule in RULES {
        assert_eq!(
            chosen(choose, &logits, &Sampling::greedy(rule), EVERYTHING, &[]).token,
            [1]
        );
    }
    // Of equals the nucleus takes the lower ids, top-k takes all.
    let p = Sampling {
        temperature: 1.0,
        top_p: Some(0.4),
        top_k: None,
        rule: SamplingRule::NucleusFirst,
    };
    assert_eq!(chosen(choose, &logits, &p, EVERYTHING, &[0.999]).token, [2]);
    let k = Sampling {
        top_p: None,
        top_k: Some(1),
        ..p
    };
    assert_eq!(chosen(choose, &logits, &k, EVERYTHING, &[0.999]).token, [3]);
}

#[test]
fn noise_and_the_drawn_distribution_are_the_same_one() {
    // argmax of exp(l) / (-ln u)^T over independent u has probabilities softmax(l / T).
    let (n, temperature) = (20_000i64, 0.6);
    let one = Tensor::from_slice(&[1.0f32, 0.3, -0.5, 0.9]).view([1, 4]);
    let stream = harness_core::rng::Stream::new(3, "noise");
    let uniform: Vec<f64> = (0..4 * n).map(|i| stream.uniform_at(i as u64)).collect();
    let noisy = noisy_logits(
        &one.repeat([n, 1]),
        &Tensor::from_slice(&uniform).view([n, 4]),
        temperature,
    )
    .unwrap();
    let got = noisy
        .argmax(-1, false)
        .bincount::<Tensor>(None, 4)
        .to_kind(Kind::Double)
        / n;
    let draws: Vec<f64> = (0..n)
        .map(|i| stream.label("one").uniform_at(i as u64))
        .collect();
    let sampling = Sampling {
        temperature,
        top_p: None,
        top_k: None,
        rule: SamplingRule::Noise,
    };
    let drawn = chosen(
        choose,
        &one.repeat([n, 1]),
        &sampling,
        Needed::default(),
        &draws,
    );
    let want = (one / temperature).softmax(-1, Kind::Double);
    for id in 0..4i64 {
        let p = want.double_value(&[0, id]);
        // Four standard errors of a frequency.
        let tolerance = 4.0 * (p * (1.0 - p) / n as f64).sqrt();
        let frequency = drawn.token.iter().filter(|token| **token == id).count() as f64 / n as f64;
        assert!(
            (got.double_value(&[id]) - p).abs() < tolerance,
            "noise, token {id}"
        );
        assert!((frequency - p).abs() < tolerance, "draw, token {id}");
    }
}

#[test]
fn logits_that_are_not_numbers_are_named() {
    // Wide enough for a selection.
    let mut values = vec![0.5f32; 3 * 40];
    values[47] = f32::NAN;
    let logits = Tensor::from_slice(&values).view([3, 40]);
    for temperature in [0.0, 1.0] {
        let sampling = Sampling {
            temperature,
            top_p: Some(0.9),
            top_k: None,
            rule: SamplingRule::NucleusFirst,
        };
        let top_k = Sampling {
            top_k: Some(1),
            ..sampling
        };
        for sampling in [sampling, top_k] {
            for form in [choose as Form, choose_by_tensors, choose_by_sort] {
                for needed in [Needed::default(), EVERYTHING] {
                    let got = chosen(form, &logits, &sampling, needed, &[0.5; 3]);
                    assert_eq!(got.broken, Some(1), "{sampling:?}");
                }
            }
        }
    }
}

#[test]
fn ranges_are_checked() {
    let fine = Sampling {
        temperature: 0.7,
        top_p: Some(1.0),
        top_k: Some(1),
        rule: SamplingRule::Noise,
    };
    assert!(fine.check().is_ok());
    for bad in [
        Sampling {
            temperature: -0.1,
            ..fine
        },
        Sampling {
            temperature: f64::NAN,
            ..fine
        },
        Sampling {
            top_p: Some(0.0),
            ..fine
        },
        Sampling {
            top_p: Some(1.5),
            ..fine
        },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
}

/// `units/sampling.safetensors` of the parity fixtures.
#[test]
fn equal_to_the_reference_samplers() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/parity/units/sampling.safetensors"
    );
    let all: std::collections::HashMap<String, Tensor> = Tensor::read_safetensors(path)
        .unwrap()
        .into_iter()
        .collect();
    let logits = &all["logits"];
    let near = |name: &str, got: &Tensor, want: &Tensor| {
        let worst = (got.to_kind(Kind::Double) - want.to_kind(Kind::Double))
            .abs()
            .max()
            .double_value(&[]);
        assert!(worst <= 2e-6, "{name}: {worst}");
    };
    let plain = Sampling::greedy(SamplingRule::NucleusFirst);
    let nucleus = |top_p| Sampling {
        top_p: Some(top_p),
        ..plain
    };
    let top_k = Sampling {
        top_k: Some(5),
        ..plain
    };
    let cases = [
        ("plain", plain),
        ("margin", plain),
        ("neg_entropy", plain),
        ("top_p", nucleus(0.8)),
        ("top_k", top_k),
        ("top_p_entropy", nucleus(0.6)),
    ];
    for (name, sampling) in cases {
        for form in [choose as Form, choose_by_tensors, choose_by_sort] {
            let got = chosen(form, logits, &sampling, EVERYTHING, &[]);
            assert_eq!(
                Tensor::from_slice(&got.token),
                all[&format!("{name}.x0")],
                "{name}"
            );
            let statistic = match name {
                "margin" => &got.margin,
                "neg_entropy" | "top_p_entropy" => &got.neg_entropy,
                _ => &got.confidence,
            };
            near(
                name,
                &Tensor::from_slice(statistic),
                &all[&format!("{name}.confidence")],
            );
        }
    }
    assert_eq!(
        filter_logits(logits, &nucleus(0.8)).unwrap(),
        all["top_p_0.8.logits"]
    );
    assert_eq!(
        filter_logits(logits, &top_k).unwrap(),
        all["top_k_5.logits"]
    );
    let noisy = noisy_logits(logits, &all["gumbel.uniform"], 0.6).unwrap();
    let ratio = (noisy / &all["gumbel.noisy_0.6"] - 1.0)
        .abs()
        .max()
        .double_value(&[]);
    assert!(ratio < 1e-12, "{ratio}");
}
