//! The sums that the grid is made of: moments of residuals, and clean against spliced logits.

use harness_kernels::{
    CleanRows, Targets, ce_kl_rows, centred_moments, largest_kept, peak, readback,
    residual_moments, text_moments,
};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::{
    common::{at_every_level, f32s, tensor},
    reference,
};

fn close(fast: f64, slow: f64, tolerance: f64) -> bool {
    (fast - slow).abs() <= tolerance * (1.0 + slow.abs())
        || (fast.is_nan() && slow.is_nan())
        || fast == slow
}

fn f64s(t: &Tensor) -> Vec<f64> {
    readback::f64s(t).unwrap()
}

fn bits(t: &Tensor) -> Vec<u64> {
    assert_eq!(t.kind(), Kind::Double);
    f64s(t).into_iter().map(f64::to_bits).collect()
}

fn targets(ids: &[i64], vocab_size: usize) -> Targets {
    Targets::new(ids, vocab_size as i64, Device::Cpu).unwrap()
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
        let kept_rows = Tensor::from_slice(&keep);
        let run = |x: &Tensor| {
            let m = residual_moments(x, &th, &kept_rows).unwrap();
            (bits(&m.squares), bits(&m.all), bits(&m.kept))
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
        let x = tensor(&v[..n * d], n, d);
        let about = Tensor::from_slice(&origin);
        let m = centred_moments(&x, &about, &Tensor::from_slice(&keep)).unwrap();
        let (mut x2, mut all, mut kept) = (vec![0.0; n], vec![0.0; d], vec![0.0; d]);
        for row in 0..n {
            for i in 0..d {
                let c = f64::from(v[row * d + i]) - origin[i];
                x2[row] += c * c;
                all[i] += c;
                kept[i] += if keep[row] { c } else { 0.0 };
            }
        }
        for (fast, slow) in [(&m.squares, &x2), (&m.all, &all), (&m.kept, &kept)] {
            prop_assert!(f64s(fast).iter().zip(slow).all(|(f, s)| close(*f, *s, 1e-12)));
        }
    }

    /// The moments of a text are those about 0 and about the mean, with rows left out by the
    /// median.
    #[test]
    fn moments_of_a_text_are_those_of_its_parts((n, d, v, _) in rows(), factor in 0.5f64..3.0) {
        let x = tensor(&v[..n * d], n, d);
        let m = text_moments(&x, factor).unwrap();
        let zeros = Tensor::zeros([d as i64], (Kind::Double, Device::Cpu));
        let everything = Tensor::from_slice(&vec![true; n]);
        let zero = centred_moments(&x, &zeros, &everything).unwrap();
        prop_assert_eq!(bits(&m.about_zero.squares), bits(&zero.squares));
        prop_assert_eq!(bits(&m.about_zero.all), bits(&zero.all));
        let squares = f64s(&zero.squares);
        let limit = largest_kept(&squares, factor);
        let keep: Vec<bool> = squares.iter().map(|s| *s <= limit).collect();
        prop_assert_eq!(&Vec::<bool>::try_from(&m.keep).unwrap(), &keep);
        let mean: Vec<f64> = f64s(&zero.all).iter().map(|s| s / n as f64).collect();
        let mean = centred_moments(&x, &Tensor::from_slice(&mean), &m.keep).unwrap();
        prop_assert_eq!(bits(&m.about_mean.squares), bits(&mean.squares));
        prop_assert_eq!(bits(&m.about_mean.kept), bits(&mean.kept));
    }

    #[test]
    fn divergence_agrees_with_loops((n, v, numbers) in logits(), kind in kinds()) {
        let (c, s) = numbers.split_at(n * v);
        let ids: Vec<i64> = (0..n).map(|i| (i * 7 % v) as i64).collect();
        let (tc, ts) = (tensor(c, n, v).to_kind(kind), tensor(s, n, v).to_kind(kind));
        let (c, s, tt) = (f32s(&tc), f32s(&ts), targets(&ids, v));
        let clean = CleanRows::new(&tc).unwrap();
        let run = || {
            let (ce, kl) = ce_kl_rows(&ts, &tt, &CleanRows::new(&tc).unwrap()).unwrap();
            (bits(&ce), bits(&kl))
        };
        let (ce, kl) = at_every_level(run);
        for row in 0..n {
            let (c, s) = (&c[row * v..(row + 1) * v], &s[row * v..(row + 1) * v]);
            // f32 exponentials of 2 ulp, f64 sums: 2.4e-7 relative, times differences of at most 40
            prop_assert!(close(f64::from_bits(ce[row]), reference::cross_entropy_row(s, ids[row] as usize), 1e-6));
            prop_assert!(close(f64::from_bits(kl[row]), reference::kl_row(c, s), 1e-5));
        }
        // equal bits: exactly no divergence, and the clean loss is the spliced one
        let (own, none) = ce_kl_rows(&tc, &tt, &clean).unwrap();
        prop_assert!(f64s(&none).iter().all(|&kl| kl == 0.0));
        prop_assert_eq!(bits(&own), bits(&clean.ce(&tt).unwrap()));
    }
}

#[test]
fn threads_change_no_bit_of_the_moments() {
    let x = Tensor::randn([700, 1100], (Kind::Float, Device::Cpu));
    let h = Tensor::randn([700, 1100], (Kind::Float, Device::Cpu));
    let keep = Tensor::arange(700, (Kind::Int64, Device::Cpu))
        .remainder(3)
        .eq(0);
    let sums = || {
        let m = residual_moments(&x, &h, &keep).unwrap();
        (bits(&m.squares), bits(&m.all), bits(&m.kept))
    };
    let before = tch::get_num_threads();
    tch::set_num_threads(1);
    let one = sums();
    tch::set_num_threads(2);
    let two = sums();
    tch::set_num_threads(before);
    assert_eq!(one, two);
}

#[test]
fn nan_shows_and_tokens_without_probability_do_not() {
    let x = tensor(&[f32::NAN, 1.0, 2.0, 3.0], 2, 2);
    let keep = Tensor::from_slice(&[false, true]);
    let m = residual_moments(&x, &tensor(&[0.0; 4], 2, 2), &keep).unwrap();
    let (squares, all) = (f64s(&m.squares), f64s(&m.all));
    assert!(squares[0].is_nan() && squares[1] == 13.0);
    assert!(all[0].is_nan() && all[1] == 4.0);
    assert_eq!(f64s(&m.kept), [2.0, 3.0]);

    let out = f32::NEG_INFINITY;
    let clean = CleanRows::new(&tensor(&[0.0, 0.0, out, 0.0, 0.0, 0.0], 2, 3)).unwrap();
    let spliced = tensor(&[0.0, 0.0, out, 0.0, 0.0, out], 2, 3);
    let (ce, kl) = ce_kl_rows(&spliced, &targets(&[0, 1], 3), &clean).unwrap();
    assert_eq!(f64s(&kl), [0.0, f64::INFINITY]);
    assert!(f64s(&ce).iter().all(|ce| (ce - 2f64.ln()).abs() < 1e-12));
    let clean = CleanRows::new(&tensor(&[0.0, f32::NAN], 1, 2)).unwrap();
    let (ce, kl) = ce_kl_rows(&tensor(&[0.0, 1.0], 1, 2), &targets(&[0], 2), &clean).unwrap();
    assert!(f64s(&ce)[0].is_finite() && f64s(&kl)[0].is_nan());
}

#[test]
fn wrong_operands_are_named() {
    let t = |n, d| Tensor::zeros([n, d], (Kind::Float, Device::Cpu));
    let e = residual_moments(&t(2, 3), &t(2, 3), &Tensor::from_slice(&[true]))
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("keep") && e.contains("[1]") && e.contains("[2]"),
        "{e}"
    );
    let (origin, keep) = (
        Tensor::from_slice(&[0.0; 2]),
        Tensor::from_slice(&[true; 2]),
    );
    let e = centred_moments(&t(2, 3), &origin, &keep)
        .unwrap_err()
        .to_string();
    assert!(e.contains("origin") && e.contains("[3]"), "{e}");
    let clean = CleanRows::new(&t(1, 4)).unwrap();
    for id in [4, -1] {
        let e = Targets::new(&[0, id], 4, Device::Cpu).unwrap_err();
        assert!(e.is_argument());
        let e = e.to_string();
        assert!(
            e.contains("targets") && e.contains(&id.to_string()) && e.contains("0 to 3"),
            "{e}"
        );
    }
    // Targets of more tokens than there are logits would be read beyond them.
    for ids in [targets(&[0], 5), targets(&[0, 1], 4)] {
        assert!(clean.ce(&ids).unwrap_err().is_argument());
        assert!(
            ce_kl_rows(&t(1, 4), &ids, &clean)
                .unwrap_err()
                .is_argument()
        );
    }
    assert!(
        ce_kl_rows(&t(1, 5), &targets(&[0], 5), &clean)
            .unwrap_err()
            .is_argument()
    );
    assert!(CleanRows::new(&t(1, 0)).unwrap_err().is_argument());
}

#[test]
fn peaks_are_rates() {
    let flops = peak::matmul_flops(Device::Cpu, Kind::Float, 0.0).unwrap();
    assert!((1e8..1e16).contains(&flops), "{flops}");
    let bytes = peak::copy_bytes(Device::Cpu, 0.0).unwrap();
    assert!((1e7..1e14).contains(&bytes), "{bytes}");
}
