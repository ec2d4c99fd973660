//! Sparse decoding and its transpose in both forms, at every instruction set.

use harness_kernels::{
    Groups, decode_sparse,
    simd::Level,
    sparse::{Form, decode_sparse_as},
};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::{
    common::{at_every_level, f32s, tensor},
    reference,
};

fn bits(t: &Tensor) -> Vec<u32> {
    f32s(t).into_iter().map(f32::to_bits).collect()
}

/// Rows, slots, table rows, width (over one and several strips), numbers, and latents with unused
/// slots anywhere.
fn problem() -> impl Strategy<Value = (usize, usize, usize, usize, Vec<f32>, Vec<i64>)> {
    (
        0usize..70,
        0usize..6,
        1usize..20,
        prop_oneof![1usize..40, 60usize..70, 125usize..200],
    )
        .prop_flat_map(|(n, w, m, d)| {
            (
                Just(n),
                Just(w),
                Just(m),
                Just(d),
                proptest::collection::vec(-2.0f32..2.0, m * d + d + n * w),
                proptest::collection::vec(-1..m as i64, n * w),
            )
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn decoding_agrees_with_loops_in_every_form((n, w, m, d, v, latents) in problem()) {
        let (table, v) = v.split_at(m * d);
        let (b_dec, acts) = v.split_at(d);
        let (tt, tb, ta) = (tensor(table, m, d), Tensor::from_slice(b_dec), tensor(acts, n, w));
        let ti = Tensor::from_slice(&latents).view([n as i64, w as i64]);
        for tt in [tt.shallow_clone(), tt.to_kind(Kind::BFloat16)] {
            let forms = [Form::Direct, Form::Packed].map(|form| {
                at_every_level(|| bits(&decode_sparse_as(form, &ta, &ti, &tt, Some(&tb)).unwrap()))
            });
            prop_assert_eq!(&forms[0], &forms[1]);
            if tt.kind() == Kind::Float && Level::best() > Level::Portable {
                let libtorch = decode_sparse_as(Form::Libtorch, &ta, &ti, &tt, Some(&tb)).unwrap();
                prop_assert_eq!(&forms[0], &bits(&libtorch));
            }
            let stored = f32s(&tt);
            for row in 0..n {
                let slots = row * w..(row + 1) * w;
                let slow = reference::decode_row(&acts[slots.clone()], &latents[slots], &stored, b_dec);
                for i in 0..d {
                    // at most 6 products of at most 4, each rounded once
                    prop_assert!((f64::from(f32::from_bits(forms[0][row * d + i])) - slow[i]).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn accumulation_is_the_transpose((n, w, m, d, v, latents) in problem()) {
        let acts = &v[v.len() - n * w..];
        let rows: Vec<f32> = (0..n * d).map(|i| (i as f32 * 0.37).sin()).collect();
        let (tr, ta) = (tensor(&rows, n, d), tensor(acts, n, w));
        let ti = Tensor::from_slice(&latents).view([n as i64, w as i64]);
        let fast = at_every_level(|| bits(&Groups::new(&ti, m as i64).unwrap().accumulate(&tr, &ta).unwrap()));
        let mut slow = vec![0f64; m * d];
        for (slot, &latent) in latents.iter().enumerate().filter(|(_, l)| **l >= 0) {
            for i in 0..d {
                slow[latent as usize * d + i] += f64::from(acts[slot]) * f64::from(rows[slot / w * d + i]);
            }
        }
        for (fast, slow) in fast.iter().zip(&slow) {
            prop_assert!((f64::from(f32::from_bits(*fast)) - slow).abs() < 2e-4);
        }
    }
}

#[test]
fn threads_change_no_bit_of_a_reconstruction() {
    let table = Tensor::randn([600, 300], (Kind::Float, Device::Cpu));
    let acts = Tensor::randn([400, 30], (Kind::Float, Device::Cpu));
    let latents = Tensor::randn([400, 600], (Kind::Float, Device::Cpu))
        .topk(30, -1, true, true)
        .1;
    let before = tch::get_num_threads();
    for form in [Form::Direct, Form::Packed] {
        let [one, two] = [1, 2].map(|threads| {
            tch::set_num_threads(threads);
            bits(&decode_sparse_as(form, &acts, &latents, &table, None).unwrap())
        });
        assert_eq!(one, two);
    }
    tch::set_num_threads(before);
}

#[test]
fn nan_stays_in_the_rows_it_is_part_of() {
    let table = tensor(&[1.0, f32::NAN, 2.0, 3.0], 2, 2);
    let latents = Tensor::from_slice(&[0i64, 1, -1]).view([3, 1]);
    let x = f32s(
        &decode_sparse(
            &Tensor::ones([3, 1], (Kind::Float, Device::Cpu)),
            &latents,
            &table,
            None,
        )
        .unwrap(),
    );
    assert!(x[0] == 1.0 && x[1].is_nan());
    assert_eq!(x[2..], [2.0, 3.0, 0.0, 0.0]);
}
