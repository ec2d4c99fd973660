//! What other devices than a CPU go through without the feature `cuda`: libtorch's operations, held
//! to the CPU forms.

use tch::{Device, Kind, Tensor};

use crate::{
    CleanRows, ce_kl_rows, cross_entropy_rows, gate, jaccard, jaccard_rows, loss, moments, norm,
    residual_moments, rms_norm, rotate, rotate_halves, stats, swiglu, token_stats, topk,
    topk_active,
};

/// Numbers with ties, zeros and negatives.
fn matrix(n: i64, d: i64, seed: i64) -> Tensor {
    tch::manual_seed(seed);
    (Tensor::randn([n, d], (Kind::Float, Device::Cpu)) * 8.0).round() / 4.0
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[])
}

fn near(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| (a - b).abs() < 1e-5 * (1.0 + b.abs()))
}

#[test]
fn selection() {
    for k in [1, 12, 60, 61] {
        let relu = matrix(9, 61, k);
        let (ours, libtorch) = (
            topk_active(&relu, k).unwrap(),
            topk::through_libtorch(&relu, 61, k).unwrap(),
        );
        assert_eq!(ours.acts, libtorch.acts);
        assert_eq!(ours.latents, libtorch.latents);
        assert_eq!(ours.n_active, libtorch.n_active);
    }
}

#[test]
fn losses_and_statistics() {
    let logits = matrix(9, 61, 1);
    let targets = Tensor::arange(9, (Kind::Int64, Device::Cpu));
    let libtorch = loss::through_libtorch(&logits, &targets).unwrap();
    assert!(largest_difference(&cross_entropy_rows(&logits, &targets).unwrap(), &libtorch) < 1e-5);
    let (ours, libtorch) = (
        token_stats(&logits).unwrap(),
        stats::through_libtorch(&logits).unwrap(),
    );
    for (a, b) in [
        (&ours.p1, &libtorch.p1),
        (&ours.p2, &libtorch.p2),
        (&ours.entropy, &libtorch.entropy),
    ] {
        assert!(largest_difference(a, b) < 1e-5);
    }
    let best = logits.gather(1, &ours.argmax.unsqueeze(1), false).squeeze();
    assert_eq!(best, logits.amax([1], false));
}

#[test]
fn divergence() {
    let (clean, spliced) = (matrix(9, 61, 2), matrix(9, 61, 3));
    let _ = clean.get(2).narrow(0, 5, 1).fill_(f64::NEG_INFINITY);
    let targets = Tensor::arange(9, (Kind::Int64, Device::Cpu));
    let kept = CleanRows::new(&clean).unwrap();
    let (ce, kl) = ce_kl_rows(&spliced, &targets, &kept).unwrap();
    let (slow_ce, slow_kl) = kept
        .on_device(&spliced, &(0..9).collect::<Vec<_>>())
        .unwrap();
    assert!(near(&ce, &slow_ce) && near(&kl, &slow_kl));
    let (_, none) = kept.on_device(&clean, &(0..9).collect::<Vec<_>>()).unwrap();
    assert_eq!(none, [0.0; 9]);
}

#[test]
fn sums() {
    let (x, x_hat) = (matrix(9, 61, 4), matrix(9, 61, 5));
    let keep: Vec<bool> = (0..9).map(|i| i % 2 == 0).collect();
    let ours = residual_moments(&x, &x_hat, &keep).unwrap();
    let libtorch = moments::through_libtorch(&x, &x_hat, &keep).unwrap();
    assert!(near(&ours.r2, &libtorch.squares));
    assert!(near(&ours.sum_r, &libtorch.all) && near(&ours.sum_r_kept, &libtorch.kept));
}

#[test]
fn overlap() {
    tch::manual_seed(6);
    let sets = |k: i64| Tensor::randint_low(-1, 9, [40, k], (Kind::Int64, Device::Cpu));
    for (ka, kb) in [(5, 7), (1, 3), (0, 2), (0, 0)] {
        let (a, b) = (sets(ka), sets(kb));
        assert_eq!(
            jaccard_rows(&a, &b).unwrap(),
            jaccard::on_device(&a, &b).unwrap()
        );
    }
}

#[test]
fn operations_of_a_block() {
    for kind in [Kind::Float, Kind::BFloat16] {
        // A value may be rounded to the neighbouring one: all are below 32.
        let near = |ours: &Tensor, libtorch: &Tensor| {
            let slack = if kind == Kind::Float { 1e-5 } else { 0.13 };
            largest_difference(ours, libtorch) < slack
        };
        let (x, up) = (
            matrix(12, 32, 7).to_kind(kind),
            matrix(12, 32, 8).to_kind(kind),
        );
        let weight = up.get(0);
        let libtorch = norm::through_libtorch(&x, &weight, 1e-6).unwrap();
        assert!(near(&rms_norm(&x, &weight, 1e-6).unwrap(), &libtorch));
        let libtorch = gate::through_libtorch(&x, &up).unwrap();
        assert!(near(&swiglu(x.copy(), &up).unwrap(), &libtorch));
        let heads = x.view([2, 3, 2, 32]);
        let angles = matrix(3, 16, 9).view([1, 3, 1, 16]);
        let (cos, sin) = (angles.cos().to_kind(kind), angles.sin().to_kind(kind));
        let libtorch = rotate::through_libtorch(&heads, &cos, &sin).unwrap();
        assert_eq!(rotate_halves(heads.copy(), &cos, &sin).unwrap(), libtorch);
    }
}
