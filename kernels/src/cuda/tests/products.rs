//! Selection, decoding, steering and moments.

use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use super::{
    KINDS, Palette, assert_near, assert_same, draw, f32s, f64s, i64s, matrix, palettes,
    where_kernels_run,
};
use crate::{
    Moments, centred_moments, cuda, reference, residual_moments,
    sparse::{Form, decode_sparse_as},
    steer_add,
};

pub(super) fn launch_all(kind: Kind) {
    selection(&matrix(Palette::Tied, 1, 2, 9, kind), 3);
    decoding(
        2,
        3,
        &matrix(Palette::Smooth, 2, 5, 4, kind),
        Palette::Smooth,
        3,
    );
    steering([2, 2, 3], kind, Palette::Smooth, 4);
    sums(&matrix(Palette::Smooth, 5, 3, 4, kind), 6);
}

fn selection(values: &Tensor, w: usize) {
    let (n, d) = (values.size()[0] as usize, values.size()[1] as usize);
    let numbers = f32s(values);
    where_kernels_run(|device| {
        let active = cuda::select(&values.to_device(device), w as i64);
        let active = active.unwrap().unwrap();
        let (acts, latents) = (f32s(&active.acts), i64s(&active.latents));
        let counts = i64s(&active.n_active);
        for row in 0..n {
            let mut right = reference::topk_row(&numbers[row * d..(row + 1) * d], w);
            assert_eq!(counts[row], right.len() as i64, "row {row}");
            right.resize(w, (0.0, -1));
            for (slot, (act, latent)) in right.into_iter().enumerate() {
                let at = row * w + slot;
                assert_eq!(latents[at], latent, "row {row}, slot {slot}");
                let is_same = acts[at] == act || acts[at].is_nan() && act.is_nan();
                assert!(is_same, "row {row}, slot {slot}: {} for {act}", acts[at]);
            }
        }
    });
}

/// - `table`: `[m, d]`, from which `n` rows take `w` slots each
fn decoding(n: usize, w: usize, table: &Tensor, palette: Palette, seed: u64) {
    let m = table.size()[0] as usize;
    let acts = matrix(palette, seed, n, w, Kind::Float);
    let latents: Vec<i64> = draw(Palette::Smooth, !seed, n * w)
        .iter()
        .map(|v| ((v + 8.0) / 16.0 * (m + 1) as f32) as i64 - 1)
        .map(|latent| latent.min(m as i64 - 1))
        .collect();
    let latents = Tensor::from_slice(&latents).view([n as i64, w as i64]);
    let right = decode_sparse_as(Form::Direct, &acts, &latents, table, None).unwrap();
    where_kernels_run(|device| {
        let [acts, latents, table] = [&acts, &latents, table].map(|t| t.to_device(device));
        let ours = cuda::decode(&acts, &latents, &table).unwrap().unwrap();
        assert_same(&ours, &right);
    });
}

fn steering([b, t, d]: [usize; 3], kind: Kind, palette: Palette, seed: u64) {
    let resid = matrix(palette, seed, b * t, d, kind).view([b as i64, t as i64, d as i64]);
    // Tied numbers have zeros among them: positions that are not steered.
    let coeff = matrix(Palette::Tied, seed + 1, b, t, Kind::Float);
    let scale = matrix(palette, seed + 2, b, t, Kind::Float);
    let direction = matrix(Palette::Smooth, seed + 3, b, d, kind);
    let mut right = resid.copy();
    steer_add(&mut right, &coeff, &scale, &direction).unwrap();
    where_kernels_run(|device| {
        let [coeff, scale, direction] = [&coeff, &scale, &direction].map(|t| t.to_device(device));
        let mut ours = resid.to_device(device).copy();
        assert!(cuda::steer(&mut ours, &coeff, &scale, &direction).unwrap());
        assert_same(&ours, &right);
    });
}

/// Sums are added in another order than on a CPU: they may differ by 1e-12 of what is added.
fn sums(x: &Tensor, seed: u64) {
    let (n, d) = (x.size()[0] as usize, x.size()[1] as usize);
    let other = matrix(Palette::Smooth, seed, n, d, Kind::Float);
    let origin: Vec<f64> = draw(Palette::Smooth, !seed, d)
        .into_iter()
        .map(f64::from)
        .collect();
    let keep: Vec<bool> = draw(Palette::Smooth, seed + 1, n)
        .iter()
        .map(|v| *v > 0.0)
        .collect();
    let size = f32s(x)
        .iter()
        .filter(|v| v.is_finite())
        .fold(8.0, |a: f32, b| a.max(b.abs()));
    let slack = 1e-12 * f64::from(size) * (n + 1) as f64;
    let keep = Tensor::from_slice(&keep);
    let origin = Tensor::from_slice(&origin);
    let left = residual_moments(x, &other, &keep).unwrap();
    let about = centred_moments(x, &origin, &keep).unwrap();
    where_kernels_run(|device| {
        let near = |ours: &Moments, right: &Moments| {
            assert_near(&f64s(&ours.squares), &f64s(&right.squares), 1e-12, 0.0);
            assert_near(&f64s(&ours.all), &f64s(&right.all), 0.0, slack);
            assert_near(&f64s(&ours.kept), &f64s(&right.kept), 0.0, slack);
        };
        let [x, other, origin, keep] = [x, &other, &origin, &keep].map(|t| t.to_device(device));
        near(&cuda::moments(&x, &other, &keep).unwrap().unwrap(), &left);
        near(&cuda::moments(&x, &origin, &keep).unwrap().unwrap(), &about);
    });
}

/// What is not steered keeps its bits: zeros their sign, and numbers beside a broken scale.
#[test]
fn positions_without_a_coefficient_are_left_alone() {
    for kind in KINDS {
        let resid = Tensor::from_slice(&[-0.0f32, 1.5])
            .repeat([2, 300])
            .to_kind(kind);
        let row = |values: &[f32]| Tensor::from_slice(values).view([1, 2]);
        let direction = matrix(Palette::Smooth, 1, 1, 600, kind);
        for scale in [1.0, f32::NAN, f32::INFINITY] {
            where_kernels_run(|device| {
                let mut ours = resid.view([1, 2, 600]).to_device(device).copy();
                let [coeff, scale] = [row(&[0.0, -0.0]), row(&[scale; 2])];
                let [coeff, scale] = [coeff, scale].map(|t| t.to_device(device));
                let direction = direction.to_device(device);
                assert!(cuda::steer(&mut ours, &coeff, &scale, &direction).unwrap());
                assert_same(&ours, &resid.view([1, 2, 600]));
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn selections_are_those_of_the_loop(
        n in 1usize..4, d in 1usize..700, share in 0.0f64..1.0, palette in palettes(), seed: u64, kind in 0usize..2,
    ) {
        let w = (1 + (share.powi(3) * d as f64) as usize).min(d);
        selection(&matrix(palette, seed, n, d, KINDS[kind]), w);
    }

    #[test]
    fn decodings_have_the_bits_of_a_cpu(
        n in 0usize..4, w in prop_oneof![0usize..20, 250usize..530], m in 1usize..9, d in prop_oneof![1usize..20, 250usize..530],
        palette in palettes(), seed: u64, kind in 0usize..2,
    ) {
        decoding(n, w, &matrix(Palette::Smooth, seed ^ 5, m, d, KINDS[kind]), palette, seed);
    }

    #[test]
    fn steered_streams_have_the_bits_of_a_cpu(
        shape in (0usize..4, 1usize..5, prop_oneof![1usize..20, 250usize..530]), palette in palettes(),
        seed in 0u64..1 << 60, kind in 0usize..2,
    ) {
        let (b, t, d) = shape;
        steering([b, t, d], KINDS[kind], palette, seed);
    }

    #[test]
    fn moments_are_those_of_a_cpu(
        n in prop_oneof![0usize..9, 60usize..200], d in prop_oneof![1usize..20, 250usize..530], palette in palettes(),
        seed in 0u64..1 << 60, kind in 0usize..2,
    ) {
        sums(&matrix(palette, seed, n, d, KINDS[kind]), seed);
    }
}

/// The widest selection that a block sorts, and the first that it leaves to libtorch.
#[test]
fn selections_are_at_most_as_wide_as_a_block_sorts() {
    // One number is the largest, and the others share what is left: they would not all fit.
    let mut tied = vec![1.5f32; 9000];
    (tied[4000], tied[8999]) = (2.0, 2.0);
    let tied = Tensor::from_slice(&tied).view([2, 4500]);
    for values in [matrix(Palette::Smooth, 7, 2, 4500, Kind::Float), tied] {
        selection(&values, 2048);
        where_kernels_run(|device| {
            let values = values.to_device(device);
            assert!(cuda::select(&values, 2049).unwrap().is_none());
        });
    }
}

/// Rows without any positive number, with equal ones alone, and with NaN alone.
#[test]
fn selections_of_rows_that_are_all_alike() {
    for value in [-1.0, -0.0, 0.0, 1e-45, 3.0, f64::INFINITY, f64::NAN] {
        let values = Tensor::full([2, 600], value, (Kind::Float, Device::Cpu));
        for kind in KINDS {
            selection(&values.to_kind(kind), 300);
            selection(&values.to_kind(kind), 600);
        }
    }
}
