//! Losses and overlaps.

use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use super::{KINDS, Palette, assert_near, draw, f32s, f64s, matrix, palettes, where_kernels_run};
use crate::{CleanRows, Targets, ce_kl_rows, cuda, reference};

/// Exponentials have the bits of a CPU; their sums are added in another order, and the logarithm's
/// last bit is the library's.
const IN_F64: f64 = 1e-12;

pub(super) fn launch_all(kind: Kind) {
    let (logits, clean) = (
        matrix(Palette::Smooth, 1, 2, 9, kind),
        matrix(Palette::Smooth, 2, 2, 9, kind),
    );
    losses(&logits, &clean);
    overlaps([2, 3, 4], 3);
}

/// A target of each row.
fn targets(n: usize, v: usize) -> Vec<i64> {
    (0..n).map(|row| (row * 7 % v) as i64).collect()
}

fn losses(spliced: &Tensor, clean: &Tensor) {
    let (n, v) = (spliced.size()[0] as usize, spliced.size()[1] as usize);
    let ids = targets(n, v);
    let targets = Targets::new(&ids, v as i64, Device::Cpu).unwrap();
    let kept = CleanRows::new(clean).unwrap();
    let (costs, divergences) = ce_kl_rows(spliced, &targets, &kept).unwrap();
    let targets = Tensor::from_slice(&ids);
    let largest = f32s(spliced)
        .into_iter()
        .chain(f32s(clean))
        .filter(|v| v.is_finite())
        .fold(1.0, |a: f32, b| a.max(b.abs()));
    let slack = IN_F64 * f64::from(largest);
    where_kernels_run(|device| {
        let [spliced, clean, targets] = [spliced, clean, &targets].map(|t| t.to_device(device));
        let (ce, kl) = cuda::compare(&spliced, &clean, &targets).unwrap().unwrap();
        assert_near(&f64s(&ce), &f64s(&costs), IN_F64, slack);
        assert_near(&f64s(&kl), &f64s(&divergences), IN_F64, 8.0 * slack);
        let (_, none) = cuda::compare(&clean, &clean, &targets).unwrap().unwrap();
        let none = f64s(&none);
        assert!(none.iter().all(|&kl| kl == 0.0 || kl.is_nan()), "{none:?}");
    });
}

fn overlaps([n, ka, kb]: [usize; 3], seed: u64) {
    let list = |k: usize, seed: u64| -> Vec<i64> {
        let numbers = draw(Palette::Smooth, seed, n * k);
        numbers.iter().map(|v| (v + 8.0) as i64 - 2).collect()
    };
    let (a, b) = (list(ka, seed), list(kb, !seed));
    let right: Vec<f64> = (0..n)
        .map(|row| {
            let (a, b) = (&a[row * ka..(row + 1) * ka], &b[row * kb..(row + 1) * kb]);
            reference::jaccard_row(a, b)
        })
        .collect();
    let tensor = |list: &[i64], k: usize| Tensor::from_slice(list).view([n as i64, k as i64]);
    where_kernels_run(|device| {
        let (a, b) = (
            tensor(&a, ka).to_device(device),
            tensor(&b, kb).to_device(device),
        );
        let ours = cuda::jaccard(&a, &b).unwrap().unwrap();
        assert_eq!(ours.kind(), Kind::Double);
        assert_eq!(f64s(&ours), right);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn losses_are_those_of_a_cpu(
        n in 1usize..4, v in prop_oneof![1usize..20, 250usize..1100], palettes in (palettes(), palettes()), seed: u64, kind in 0usize..2,
    ) {
        let logits = |palette, seed| matrix(palette, seed, n, v, KINDS[kind]);
        losses(&logits(palettes.0, seed), &logits(palettes.1, !seed));
    }

    #[test]
    fn overlaps_are_those_of_the_loop(
        n in 0usize..5, ka in prop_oneof![0usize..20, 250usize..300], kb in prop_oneof![0usize..20, 250usize..300], seed: u64,
    ) {
        overlaps([n, ka, kb], seed);
    }
}

/// Rows of one number throughout, among them minus infinity and NaN alone.
#[test]
fn rows_that_are_all_alike() {
    for value in [0.0, -3e4, f64::NEG_INFINITY, f64::INFINITY, f64::NAN] {
        for kind in KINDS {
            let logits = matrix(Palette::Smooth, 1, 2, 300, kind).fill_(value);
            losses(&logits, &matrix(Palette::Smooth, 2, 2, 300, kind));
            losses(&matrix(Palette::Smooth, 2, 2, 300, kind), &logits);
        }
    }
}

/// A token that the CPU form gives no clean probability, because it is 90 below the largest, and
/// that the spliced row lacks: the divergence stays finite, as there.
#[test]
fn tokens_without_clean_probability_add_nothing() {
    let clean = Tensor::from_slice(&[0.0f32, -90.0, -200.0]).view([1, 3]);
    let spliced = Tensor::from_slice(&[1.0f32, f32::NEG_INFINITY, 0.0]).view([1, 3]);
    losses(&spliced, &clean);
}
