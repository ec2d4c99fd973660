//! Losses, token statistics, steering and set overlap at every instruction set, f32 and bf16.

use harness_kernels::{
    cross_entropy_head, cross_entropy_rows, jaccard_rows, reference, steer_add, token_stats,
};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::common::{at_every_level, f32s, i64s, tensor};

fn bits(t: &Tensor) -> Vec<u32> {
    f32s(t).into_iter().map(f32::to_bits).collect()
}

/// Rows, tokens (over several chunks of lanes) and logits; some tokens are ruled out, some are tied.
fn logits() -> impl Strategy<Value = (usize, usize, Vec<f32>)> {
    let value = prop_oneof![
        8 => -25.0f32..25.0,
        2 => (-3i32..3).prop_map(|v| v as f32),
        1 => Just(f32::NEG_INFINITY),
    ];
    (0usize..10, prop_oneof![2usize..20, 30usize..90]).prop_flat_map(move |(n, v)| {
        // the first token stays possible, so that every row is a distribution
        let first = proptest::collection::vec(-1.0f32..1.0, n);
        (first, proptest::collection::vec(value.clone(), n * v)).prop_map(
            move |(first, mut logits)| {
                for (row, first) in first.into_iter().enumerate() {
                    logits[row * v] = first;
                }
                (n, v, logits)
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn losses_and_statistics_are_those_of_loops((n, v, logits) in logits()) {
        let targets: Vec<i64> = (0..n).map(|i| (i * 5 % v) as i64).collect();
        let tt = Tensor::from_slice(&targets);
        for t in [tensor(&logits, n, v), tensor(&logits, n, v).to_kind(Kind::BFloat16)] {
            let values = f32s(&t);
            let ce = at_every_level(|| bits(&cross_entropy_rows(&t, &tt).unwrap()));
            let (best, numbers) = at_every_level(|| {
                let s = token_stats(&t).unwrap();
                (i64s(&s.argmax), [bits(&s.p1), bits(&s.p2), bits(&s.entropy)])
            });
            for row in 0..n {
                let l = &values[row * v..(row + 1) * v];
                // f32 exponentials of 2 ulp under f64 sums, rounded to f32 at the end
                let near = |fast: u32, slow: f64| {
                    let fast = f64::from(f32::from_bits(fast));
                    fast == slow || (fast - slow).abs() <= 2e-6 * (1.0 + slow.abs())
                };
                prop_assert!(near(ce[row], reference::cross_entropy_row(l, targets[row] as usize)));
                let (argmax, p1, p2, entropy) = reference::token_stats_row(l);
                prop_assert_eq!(best[row], argmax as i64);
                prop_assert!(near(numbers[0][row], p1) && near(numbers[1][row], p2) && near(numbers[2][row], entropy));
            }
        }
    }

    #[test]
    fn overlap_is_that_of_sets((n, ka, kb, v) in (0usize..300, 0usize..7, 0usize..7).prop_flat_map(|(n, ka, kb)| {
        (Just(n), Just(ka), Just(kb), proptest::collection::vec(-1i64..9, n * (ka + kb)))
    })) {
        let (a, b) = v.split_at(n * ka);
        let matrix = |v: &[i64], k: usize| Tensor::from_slice(v).view([n as i64, k as i64]);
        let fast = Vec::<f64>::try_from(jaccard_rows(&matrix(a, ka), &matrix(b, kb)).unwrap()).unwrap();
        prop_assert_eq!(fast.len(), n);
        for row in 0..n {
            let slow = reference::jaccard_row(&a[row * ka..(row + 1) * ka], &b[row * kb..(row + 1) * kb]);
            prop_assert_eq!(fast[row], slow);
        }
    }

    #[test]
    fn steering_rounds_like_libtorch((b, t, d, v) in (1usize..4, 1usize..70, 1usize..40).prop_flat_map(|(b, t, d)| {
        (Just(b), Just(t), Just(d), proptest::collection::vec(-2.0f32..2.0, b * t * d + b * d + 2 * b * t))
    })) {
        let (resid, v) = v.split_at(b * t * d);
        let (direction, v) = v.split_at(b * d);
        let (coeff, scale) = v.split_at(b * t);
        let coeff: Vec<f32> = coeff.iter().map(|c| if c.abs() < 0.7 { 0.0 } else { *c }).collect();
        let shape = [b as i64, t as i64, d as i64];
        let (tc, ts, td) = (tensor(&coeff, b, t), tensor(scale, b, t), tensor(direction, b, d));
        for kind in [Kind::Float, Kind::BFloat16] {
            let resid = Tensor::from_slice(resid).view(shape).to_kind(kind);
            let fast = at_every_level(|| {
                let mut moved = resid.copy();
                steer_add(&mut moved, &tc, &ts, &td).unwrap();
                bits(&moved)
            });
            let delta = (&tc * &ts).unsqueeze(2) * td.unsqueeze(1);
            let slow = (resid.to_kind(Kind::Float) + delta).to_kind(kind);
            let slow = slow.where_self(&tc.ne(0).unsqueeze(2), &resid);
            prop_assert_eq!(fast, bits(&slow));
            // a view with gaps goes another way to the same bits
            let gaps = Tensor::zeros([shape[0], shape[1], 2 * shape[2]], (kind, Device::Cpu));
            let mut view = gaps.narrow(2, 0, shape[2]);
            view.copy_(&resid);
            steer_add(&mut view, &tc, &ts, &td).unwrap();
            prop_assert_eq!(bits(&view), bits(&slow));
        }
    }

    #[test]
    fn chunks_of_the_head_change_nothing(n in 0i64..12, rows_at_once in 1usize..6, seed in 0i64..1000) {
        tch::manual_seed(seed);
        let (hidden, head) = (Tensor::randn([n, 9], (Kind::Float, Device::Cpu)), Tensor::randn([33, 9], (Kind::Float, Device::Cpu)));
        let targets = Tensor::arange(n, (Kind::Int64, Device::Cpu));
        let chunked = f32s(&cross_entropy_head(&hidden, &head, &targets, rows_at_once * 33 * 4).unwrap());
        let whole = f32s(&cross_entropy_rows(&hidden.matmul(&head.tr()), &targets).unwrap());
        prop_assert_eq!(chunked.len(), n as usize);
        for (a, b) in chunked.iter().zip(whole) {
            prop_assert!((a - b).abs() < 1e-5); // products of other sizes may round differently
        }
    }
}

#[test]
fn nan_is_the_argmax_and_spoils_its_row_only() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let mut values = vec![0.5f32; 2 * 40];
        (values[7], values[23], values[40 + 30]) = (f32::NAN, f32::NAN, 2.0);
        let stats = token_stats(&tensor(&values, 2, 40).to_kind(kind)).unwrap();
        assert_eq!(i64s(&stats.argmax), [7, 30]);
        for t in [&stats.p1, &stats.p2, &stats.entropy] {
            let v = f32s(t);
            assert!(v[0].is_nan() && v[1].is_finite());
        }
    }
    let nothing = tensor(&[f32::NEG_INFINITY; 3], 1, 3);
    let stats = token_stats(&nothing).unwrap();
    assert!(i64s(&stats.argmax) == [0] && f32s(&stats.p1)[0].is_nan());
}

#[test]
fn a_head_in_bf16_agrees_with_f32_up_to_its_rounding() {
    tch::manual_seed(3);
    let hidden = Tensor::randn([50, 64], (Kind::BFloat16, Device::Cpu));
    let head = Tensor::randn([500, 64], (Kind::BFloat16, Device::Cpu)) * 0.1;
    let targets = Tensor::arange(50, (Kind::Int64, Device::Cpu));
    let half = cross_entropy_head(&hidden, &head, &targets, 1 << 14).unwrap();
    let full = cross_entropy_head(&hidden, &head.to_kind(Kind::Float), &targets, 1 << 14).unwrap();
    assert_eq!(half.kind(), Kind::Float);
    // logits up to 4 are rounded to 8 bits: half a unit is 2^-7
    assert!((half - full).abs().max().double_value(&[]) < 0.02);
}

#[test]
fn wrong_operands_are_named() {
    let f = |n, d| Tensor::zeros([n, d], (Kind::Float, Device::Cpu));
    let e = cross_entropy_head(&f(2, 4), &f(9, 4), &Tensor::from_slice(&[0i64, 1]), 35)
        .unwrap_err()
        .to_string();
    assert!(e.contains("max_bytes") && e.contains("36 or more"), "{e}");
    assert!(
        cross_entropy_head(&f(2, 5), &f(9, 4), &Tensor::from_slice(&[0i64, 1]), 99)
            .unwrap_err()
            .is_argument()
    );
    let ids = |v: &[i64], n| Tensor::from_slice(v).view([n, v.len() as i64 / n]);
    let e = jaccard_rows(&ids(&[0, 1], 1), &ids(&[-2], 1))
        .unwrap_err()
        .to_string();
    assert!(e.contains("`b`") && e.contains("-2"), "{e}");
    assert!(
        jaccard_rows(&ids(&[0, 1], 1), &ids(&[0, 1], 2))
            .unwrap_err()
            .is_argument()
    );
}
