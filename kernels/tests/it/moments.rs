//! The sums that the grid is made of: moments of residuals, and clean against spliced logits.

use harness_kernels::{CleanRows, ce_kl_rows, centred_moments, peak, reference, residual_moments};
use proptest::prelude::*;
use tch::{Kind, Tensor};

use crate::common::{at_every_level, f32s, tensor};

fn close(fast: f64, slow: f64, tolerance: f64) -> bool {
    (fast - slow).abs() <= tolerance * (1.0 + slow.abs())
        || (fast.is_nan() && slow.is_nan())
        || fast == slow
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Rows, columns (over several strips and lanes), numbers, and which rows to keep.
fn rows() -> impl Strategy<Value = (usize, usize, Vec<f32>, Vec<bool>)> {
    (
        prop_oneof![0usize..6, 126usize..131],
        prop_oneof![0usize..40, 1020usize..1030],
    )
        .prop_flat_map(|(n, d)| {
            (
                Just(n),
                Just(d),
                proptest::collection::vec(-3.0f32..3.0, 2 * n * d),
                proptest::collection::vec(any::<bool>(), n),
            )
        })
}

/// Rows, tokens (over several chunks of lanes) and two sets of logits; some tokens are ruled out,
/// some are tied.
fn logits() -> impl Strategy<Value = (usize, usize, Vec<f32>)> {
    let value = prop_oneof![
        8 => -20.0f32..20.0,
        2 => (-3i32..3).prop_map(|v| v as f32),
        1 => Just(f32::NEG_INFINITY),
    ];
    (0usize..10, prop_oneof![1usize..20, 30usize..90]).prop_flat_map(move |(n, v)| {
        // the first token stays possible, so that every row is a distribution
        let first = proptest::collection::vec(-1.0f32..1.0, 2 * n);
        (first, proptest::collection::vec(value.clone(), 2 * n * v)).prop_map(
            move |(first, mut logits)| {
                for (row, first) in first.into_iter().enumerate() {
                    logits[row * v] = first;
                }
                (n, v, logits)
            },
        )
    })
}

/// The kinds that logits come in.
fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Float), Just(Kind::BFloat16)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn moments_agree_with_loops((n, d, v, keep) in rows()) {
        let (x, h) = v.split_at(n * d);
        let (tx, th) = (tensor(x, n, d), tensor(h, n, d));
        let run = |x: &Tensor| {
            let m = residual_moments(x, &th, &keep).unwrap();
            (bits(&m.r2), bits(&m.sum_r), bits(&m.sum_r_kept))
        };
        let fast = at_every_level(|| run(&tx));
        let (r2, all, kept) = reference::residual_moments(x, h, d, &keep);
        for (fast, slow) in [(&fast.0, &r2), (&fast.1, &all), (&fast.2, &kept)] {
            prop_assert_eq!(fast.len(), slow.len());
            for (f, s) in fast.iter().zip(slow) {
                // f64 sums in another order
                prop_assert!(close(f64::from_bits(*f), *s, 1e-12));
            }
        }
        // bf16 input is what it is as f32
        let half = tx.to_kind(Kind::BFloat16);
        prop_assert_eq!(at_every_level(|| run(&half)), run(&half.to_kind(Kind::Float)));
    }

    #[test]
    fn moments_about_an_origin_agree_with_loops((n, d, v, keep) in rows()) {
        let origin: Vec<f64> = (0..d).map(|i| (i as f64).sin()).collect();
        let m = centred_moments(&tensor(&v[..n * d], n, d), &origin, &keep).unwrap();
        let (mut x2, mut all, mut kept) = (vec![0.0; n], vec![0.0; d], vec![0.0; d]);
        for row in 0..n {
            for i in 0..d {
                let c = f64::from(v[row * d + i]) - origin[i];
                x2[row] += c * c;
                all[i] += c;
                kept[i] += if keep[row] { c } else { 0.0 };
            }
        }
        for (fast, slow) in [(&m.x2, &x2), (&m.sum_x, &all), (&m.sum_x_kept, &kept)] {
            prop_assert!(fast.iter().zip(slow).all(|(f, s)| close(*f, *s, 1e-12)));
        }
    }

    #[test]
    fn divergence_agrees_with_loops((n, v, numbers) in logits(), kind in kinds()) {
        let (c, s) = numbers.split_at(n * v);
        let targets: Vec<i64> = (0..n).map(|i| (i * 7 % v) as i64).collect();
        let (tc, ts) = (tensor(c, n, v).to_kind(kind), tensor(s, n, v).to_kind(kind));
        let (c, s, tt) = (f32s(&tc), f32s(&ts), Tensor::from_slice(&targets));
        let clean = CleanRows::new(&tc).unwrap();
        let run = || {
            let (ce, kl) = ce_kl_rows(&ts, &tt, &CleanRows::new(&tc).unwrap()).unwrap();
            (bits(&ce), bits(&kl))
        };
        let (ce, kl) = at_every_level(run);
        for row in 0..n {
            let (c, s) = (&c[row * v..(row + 1) * v], &s[row * v..(row + 1) * v]);
            // f32 exponentials of 2 ulp, f64 sums: 2.4e-7 relative, times differences of at most 40
            prop_assert!(close(f64::from_bits(ce[row]), reference::cross_entropy_row(s, targets[row] as usize), 1e-6));
            prop_assert!(close(f64::from_bits(kl[row]), reference::kl_row(c, s), 1e-5));
        }
        // equal bits: exactly no divergence, and the clean loss is the spliced one
        let (own, none) = ce_kl_rows(&tc, &tt, &clean).unwrap();
        prop_assert!(none.iter().all(|&kl| kl == 0.0));
        prop_assert_eq!(bits(&own), bits(&clean.ce(&tt).unwrap()));
    }
}

#[test]
fn threads_change_no_bit_of_the_moments() {
    let x = Tensor::randn([700, 1100], (Kind::Float, tch::Device::Cpu));
    let h = Tensor::randn([700, 1100], (Kind::Float, tch::Device::Cpu));
    let keep: Vec<bool> = (0..700).map(|i| i % 3 == 0).collect();
    let before = tch::get_num_threads();
    tch::set_num_threads(1);
    let one = residual_moments(&x, &h, &keep).unwrap();
    tch::set_num_threads(2);
    let two = residual_moments(&x, &h, &keep).unwrap();
    tch::set_num_threads(before);
    assert_eq!(one, two);
}

#[test]
fn nan_shows_and_tokens_without_probability_do_not() {
    let x = tensor(&[f32::NAN, 1.0, 2.0, 3.0], 2, 2);
    let m = residual_moments(&x, &tensor(&[0.0; 4], 2, 2), &[false, true]).unwrap();
    assert!(m.r2[0].is_nan() && m.r2[1] == 13.0);
    assert!(m.sum_r[0].is_nan() && m.sum_r[1] == 4.0);
    assert_eq!(m.sum_r_kept, [2.0, 3.0]);

    let out = f32::NEG_INFINITY;
    let clean = CleanRows::new(&tensor(&[0.0, 0.0, out, 0.0, 0.0, 0.0], 2, 3)).unwrap();
    let spliced = tensor(&[0.0, 0.0, out, 0.0, 0.0, out], 2, 3);
    let (ce, kl) = ce_kl_rows(&spliced, &Tensor::from_slice(&[0i64, 1]), &clean).unwrap();
    assert_eq!(kl, [0.0, f64::INFINITY]);
    assert!(ce.iter().all(|ce| (ce - 2f64.ln()).abs() < 1e-12));
    let clean = CleanRows::new(&tensor(&[0.0, f32::NAN], 1, 2)).unwrap();
    let (ce, kl) = ce_kl_rows(
        &tensor(&[0.0, 1.0], 1, 2),
        &Tensor::from_slice(&[0i64]),
        &clean,
    )
    .unwrap();
    assert!(ce[0].is_finite() && kl[0].is_nan());
}

#[test]
fn wrong_operands_are_named() {
    let t = |n, d| Tensor::zeros([n, d], (Kind::Float, tch::Device::Cpu));
    let e = residual_moments(&t(2, 3), &t(2, 3), &[true])
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("keep") && e.contains("[1]") && e.contains("[2]"),
        "{e}"
    );
    let e = centred_moments(&t(2, 3), &[0.0; 2], &[true; 2])
        .unwrap_err()
        .to_string();
    assert!(e.contains("origin") && e.contains("[3]"), "{e}");
    let clean = CleanRows::new(&t(1, 4)).unwrap();
    let e = ce_kl_rows(&t(1, 4), &Tensor::from_slice(&[4i64]), &clean)
        .unwrap_err()
        .to_string();
    assert!(e.contains("targets") && e.contains("0 to 3"), "{e}");
    assert!(
        ce_kl_rows(&t(1, 5), &Tensor::from_slice(&[0i64]), &clean)
            .unwrap_err()
            .is_argument()
    );
    assert!(CleanRows::new(&t(1, 0)).unwrap_err().is_argument());
}

#[test]
fn peaks_are_rates() {
    let flops = peak::matmul_flops(tch::Device::Cpu, Kind::Float, 0.0).unwrap();
    assert!((1e8..1e16).contains(&flops), "{flops}");
    let bytes = peak::copy_bytes(tch::Device::Cpu, 0.0).unwrap();
    assert!((1e7..1e14).contains(&bytes), "{bytes}");
}
