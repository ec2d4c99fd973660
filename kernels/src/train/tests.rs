use proptest::prelude::*;
use tch::{Kind, Tensor};

use super::{adam, gradients::composed, *};
use crate::{Groups, simd::Level};

/// Rows, width, latents and slots, with numbers enough for all.
fn problem() -> impl Strategy<Value = (usize, usize, usize, usize, Vec<f32>)> {
    (1usize..20, 1usize..150, 1usize..150, 1usize..7).prop_flat_map(|(n, d, f, w)| {
        let len = 2 * n * d + f * d + n * w;
        let values = proptest::collection::vec(-2.0f32..2.0, len);
        (Just(n), Just(d), Just(f), Just(w.min(f)), values)
    })
}

/// Distinct latents of each row, some slots unused.
fn latents(n: usize, w: usize, f: usize) -> Vec<i64> {
    let at = |i: usize| {
        let (row, slot) = (i / w, i % w);
        match (row + slot) % 5 {
            0 => -1,
            _ => ((row * 7 + slot) % f) as i64,
        }
    };
    (0..n * w).map(at).collect()
}

fn off(found: &Tensor, expected: &Tensor) -> f64 {
    if expected.numel() == 0 {
        return 0.0;
    }
    let size = expected.abs().max().double_value(&[]).max(1.0);
    (found - expected).abs().max().double_value(&[]) / size
}

fn bits(t: &Tensor) -> Vec<u32> {
    let values: Vec<f32> = Vec::try_from(t.flatten(0, -1)).unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

proptest! {
    #[test]
    fn gradients_are_those_of_the_single_operations((n, d, f, w, values) in problem()) {
        let take = |from: usize, shape: [usize; 2]| {
            let len = shape[0] * shape[1];
            Tensor::from_slice(&values[from..from + len]).view([shape[0] as i64, shape[1] as i64])
        };
        let latents = Tensor::from_slice(&latents(n, w, f)).view([n as i64, w as i64]);
        let input = take(0, [n, d]);
        let out = take(n * d, [n, d]);
        let w_dec = take(2 * n * d, [f, d]);
        let acts = take(2 * n * d + f * d, [n, w]).abs() * latents.ge(0);
        let by_latent = ByLatent::new(&latents, f as i64).unwrap();
        let backward = Backward {
            input: &input,
            out: &out,
            acts: &acts,
            latents: &latents,
            by_latent: &by_latent,
            w_dec: &w_dec,
        };
        let groups = Groups::new(&latents, f as i64).unwrap();
        prop_assert_eq!(&by_latent.counts().unwrap(), groups.counts());
        let expected = composed(&backward, &groups).unwrap();
        let found = sparse_gradients(&backward, None).unwrap();
        // Sums of up to 20 products of up to 150 terms, in f32 in another order.
        prop_assert!(off(&found.w_enc, &expected.w_enc) < 2e-5);
        prop_assert!(off(&found.w_dec, &expected.w_dec) < 2e-5);
        prop_assert!(off(&found.b_enc, &expected.b_enc) < 2e-5);
        prop_assert!((found.squares - expected.squares).abs() <= 1e-4 * expected.squares.max(1.0));
        for level in Level::available() {
            // Memory of an earlier gradient must not show.
            let old = SparseGradients {
                w_enc: w_dec.ones_like(),
                b_enc: found.b_enc.ones_like(),
                w_dec: w_dec.ones_like(),
                squares: 1.0,
            };
            let at = level.hold(|| sparse_gradients(&backward, Some(old))).unwrap();
            prop_assert_eq!(bits(&at.w_enc), bits(&found.w_enc));
            prop_assert_eq!(bits(&at.w_dec), bits(&found.w_dec));
            prop_assert_eq!(at.squares.to_bits(), found.squares.to_bits());
        }
        // bf16 rows: products of what they hold, in f32.
        let (input, out) = (input.to_kind(Kind::BFloat16), out.to_kind(Kind::BFloat16));
        let backward = Backward {
            input: &input,
            out: &out,
            ..backward
        };
        let expected = composed(&backward, &groups).unwrap();
        let found = sparse_gradients(&backward, Some(found)).unwrap();
        prop_assert!(off(&found.w_enc, &expected.w_enc) < 2e-5);
        prop_assert!(off(&found.w_dec, &expected.w_dec) < 2e-5);
        prop_assert!(off(&found.b_enc, &expected.b_enc) < 2e-5);
    }

    #[test]
    fn adam_is_that_of_the_single_operations(
        f in 1usize..40, d in 1usize..150, unit in any::<bool>(), step in 1u64..2000, factor in 0.01f64..1.0,
        values in proptest::collection::vec(-2.0f32..2.0, 4 * 40 * 150)
    ) {
        let take = |i: usize| {
            Tensor::from_slice(&values[i * f * d..(i + 1) * f * d]).view([f as i64, d as i64])
        };
        let start = || [take(0), take(1), take(2).square()];
        let gradient = take(3);
        let step = AdamStep {
            lr: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            step,
            factor,
            rows: if unit { Rows::Unit } else { Rows::Free },
        };
        let [mut p, mut m, mut v] = start();
        adam::composed(&mut p, &mut m, &mut v, &gradient, &step).unwrap();
        let mut seen: Option<Vec<u32>> = None;
        for level in Level::available() {
            let [mut q, mut n, mut w] = start();
            level.hold(|| adam_step(&mut q, &mut n, &mut w, &gradient, &step)).unwrap();
            // The same operations; only a row's norm is summed in another order.
            prop_assert!(off(&q, &p) < 2e-6 && off(&n, &m) < 2e-7 && off(&w, &v) < 2e-7);
            let found = bits(&q);
            prop_assert_eq!(seen.get_or_insert_with(|| found.clone()), &found);
        }
    }
}

#[test]
fn threads_change_no_bit() {
    let wave = |shape: &[i64], by: f64| {
        let n: i64 = shape.iter().product();
        ((Tensor::arange(n, (Kind::Double, tch::Device::Cpu)) * by).sin() * 3.7)
            .to_kind(Kind::Float)
            .view(shape)
    };
    let (n, d, f, w) = (300, 96, 700, 5);
    let latents = (Tensor::arange(n * w, (Kind::Int64, tch::Device::Cpu)) * 37)
        .remainder(f)
        .view([n, w]);
    let (input, out, acts, w_dec) = (
        wave(&[n, d], 0.7),
        wave(&[n, d], 0.9),
        wave(&[n, w], 1.1).abs(),
        wave(&[f, d], 1.3),
    );
    let run = |threads: i32| {
        tch::set_num_threads(threads);
        let by_latent = ByLatent::new(&latents, f).unwrap();
        let g = sparse_gradients(
            &Backward {
                input: &input,
                out: &out,
                acts: &acts,
                latents: &latents,
                by_latent: &by_latent,
                w_dec: &w_dec,
            },
            None,
        )
        .unwrap();
        (bits(&g.w_enc), bits(&g.w_dec), g.squares.to_bits())
    };
    let (one, two) = (run(1), run(2));
    tch::set_num_threads(1);
    assert_eq!(one, two);
}

#[test]
fn what_does_not_fit_is_named() {
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
    let latents = Tensor::from_slice(&[0i64, 5]).view([2, 1]);
    assert!(ByLatent::new(&latents, 5).is_err());
    let by_latent = ByLatent::new(&latents, 6).unwrap();
    let (input, acts) = (zeros(&[2, 4]), zeros(&[2, 1]));
    let error = sparse_gradients(
        &Backward {
            input: &input,
            out: &input,
            acts: &acts,
            latents: &latents,
            by_latent: &by_latent,
            w_dec: &zeros(&[5, 4]),
        },
        None,
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("w_dec") && error.contains("[6, 4]"),
        "{error}"
    );
    let step = AdamStep {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        step: 1,
        factor: 1.0,
        rows: Rows::Free,
    };
    let (mut p, mut m, mut v) = (zeros(&[3]), zeros(&[3]), zeros(&[3]));
    let error = adam_step(&mut p, &mut m, &mut v, &zeros(&[4]), &step)
        .unwrap_err()
        .to_string();
    assert!(error.contains("gradient"), "{error}");
}
