//! What other devices than a CPU go through without the feature `cuda`: libtorch's operations, held
//! to the CPU forms.

use tch::{Device, Kind, Tensor};

use crate::{
    CleanRows, Moments, Targets, ce_kl_rows, centred_moments, decode_sparse, gate, jaccard,
    jaccard_rows, moments, norm, readback, record, residual_moments, rms_norm, rotate,
    rotate_halves, sparse, swiglu, text_moments, topk, topk_active,
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

fn f64s(t: &Tensor) -> Vec<f64> {
    readback::f64s(t).unwrap()
}

fn near(a: &Tensor, b: &Tensor) -> bool {
    let (a, b) = (f64s(a), f64s(b));
    a.len() == b.len()
        && a.iter()
            .zip(&b)
            .all(|(a, b)| (a - b).abs() < 1e-5 * (1.0 + b.abs()))
}

fn all_near(a: &Moments, b: &Moments) -> bool {
    near(&a.squares, &b.squares) && near(&a.all, &b.all) && near(&a.kept, &b.kept)
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
fn divergence() {
    let (clean, spliced) = (matrix(9, 61, 2), matrix(9, 61, 3));
    let _ = clean.get(2).narrow(0, 5, 1).fill_(f64::NEG_INFINITY);
    let targets = Targets::new(&(0..9).collect::<Vec<_>>(), 61, Device::Cpu).unwrap();
    let kept = CleanRows::new(&clean).unwrap();
    let (ce, kl) = ce_kl_rows(&spliced, &targets, &kept).unwrap();
    let (slow_ce, slow_kl) = kept.on_device(&spliced, &targets).unwrap();
    assert!(near(&ce, &slow_ce) && near(&kl, &slow_kl));
    let (_, none) = kept.on_device(&clean, &targets).unwrap();
    assert_eq!(f64s(&none), [0.0; 9]);
}

#[test]
fn sums() {
    let (x, x_hat) = (matrix(9, 61, 4), matrix(9, 61, 5));
    let keep = Tensor::arange(9, (Kind::Int64, Device::Cpu))
        .remainder(2)
        .eq(0);
    let ours = residual_moments(&x, &x_hat, &keep).unwrap();
    let libtorch = moments::through_libtorch(&x, &x_hat, &keep).unwrap();
    assert!(all_near(&ours, &libtorch));
    let origin = Tensor::arange(61, (Kind::Double, Device::Cpu));
    let ours = centred_moments(&x, &origin, &keep).unwrap();
    let libtorch = moments::through_libtorch(&x, &origin, &keep).unwrap();
    assert!(all_near(&ours, &libtorch));
    // A row that is not kept leaves the kept sums alone, whatever it holds.
    let _ = x.get(1).fill_(f64::NAN);
    let ours = residual_moments(&x, &x_hat, &keep).unwrap();
    let libtorch = moments::through_libtorch(&x, &x_hat, &keep).unwrap();
    assert!(near(&ours.kept, &libtorch.kept) && f64s(&libtorch.squares)[1].is_nan());
}

#[test]
fn sums_of_a_text() {
    let x = matrix(9, 61, 6);
    // One row far larger than the median, and rows that are as large as each other.
    let _ = x.get(3).multiply_(&Tensor::from(10.0f32));
    x.get(5).copy_(&x.get(4));
    for factor in [0.9, 1.0, 4.0] {
        let ours = text_moments(&x, factor).unwrap();
        let libtorch = moments::text_moments_through_libtorch(&x, factor).unwrap();
        assert_eq!(ours.keep, libtorch.keep);
        assert!(!bool::try_from(ours.keep.get(3)).unwrap());
        assert!(all_near(&ours.about_zero, &libtorch.about_zero));
        assert!(all_near(&ours.about_mean, &libtorch.about_mean));
    }
    for n in [0, 1] {
        let x = matrix(n, 5, 7);
        let libtorch = moments::text_moments_through_libtorch(&x, 2.0).unwrap();
        assert_eq!(libtorch.keep, text_moments(&x, 2.0).unwrap().keep);
    }
}

#[test]
fn decoding() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let table = matrix(11, 61, 8).to_kind(kind);
        tch::manual_seed(9);
        let latents = Tensor::randint_low(-1, 11, [7, 4], (Kind::Int64, Device::Cpu));
        let _ = latents.get(2).fill_(-1);
        // What an unused slot holds is not read.
        let acts = matrix(7, 4, 10).masked_fill(&latents.lt(0), f64::NAN);
        let ours = decode_sparse(&acts, &latents, &table, None).unwrap();
        let libtorch = sparse::through_libtorch(&acts, &latents, &table).unwrap();
        let tolerance = if kind == Kind::Float { 1e-5 } else { 0.5 };
        assert!(largest_difference(&ours, &libtorch) < tolerance);
        // Rows of the table that are not finite are seen where they are read and nowhere else.
        let _ = table.get(0).fill_(f64::NAN);
        let libtorch = sparse::through_libtorch(&acts, &latents, &table).unwrap();
        let reads = latents.eq(0).any_dim(1, false);
        assert_eq!(libtorch.isnan().any_dim(1, false), reads);
    }
}

/// Operations of libtorch whose result the host waits for, such as how many numbers are not 0,
/// count as reads.
#[test]
fn nothing_is_waited_for() {
    let (x, x_hat) = (matrix(9, 61, 11), matrix(9, 61, 12));
    let keep = Tensor::arange(9, (Kind::Int64, Device::Cpu))
        .remainder(2)
        .eq(0);
    let targets = Targets::new(&(0..9).collect::<Vec<_>>(), 61, Device::Cpu).unwrap();
    let latents = Tensor::arange(18, (Kind::Int64, Device::Cpu)).view([9, 2]) - 1;
    let acts = matrix(9, 2, 13);
    let table = matrix(18, 61, 14);
    let counting = record::Counting::begin();
    drop(residual_moments(&x, &x_hat, &keep).unwrap());
    drop(moments::through_libtorch(&x, &x_hat, &keep).unwrap());
    drop(text_moments(&x, 2.0).unwrap());
    drop(moments::text_moments_through_libtorch(&x, 2.0).unwrap());
    let kept = CleanRows::new(&x).unwrap();
    drop(kept.ce(&targets).unwrap());
    drop(ce_kl_rows(&x_hat, &targets, &kept).unwrap());
    drop(kept.on_device(&x_hat, &targets).unwrap());
    drop(decode_sparse(&acts, &latents, &table, None).unwrap());
    drop(sparse::through_libtorch(&acts, &latents, &table).unwrap());
    drop(jaccard_rows(&latents, &latents).unwrap());
    drop(jaccard::on_device(&latents, &latents).unwrap());
    assert_eq!(counting.so_far().reads, 0);
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
