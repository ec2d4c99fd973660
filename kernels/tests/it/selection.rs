//! Top-K selection against a sort, at every instruction set, f32 and bf16.

use harness_kernels::{Encoder, encode_topk, pre_acts, topk_active};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::{
    common::{at_every_level, f32s, i64s, tensor},
    reference,
};

/// Bits of the acts, latents and counts.
fn select(t: &Tensor, k: i64) -> (Vec<u32>, Vec<i64>, Vec<i64>) {
    let active = topk_active(t, k).unwrap();
    let acts = f32s(&active.acts)
        .into_iter()
        .map(|a| if a.is_nan() { u32::MAX } else { a.to_bits() });
    (
        acts.collect(),
        i64s(&active.latents),
        i64s(&active.n_active),
    )
}

fn check(t: &Tensor, k: usize) {
    let (n, d) = (t.size()[0] as usize, t.size()[1] as usize);
    let (acts, latents, counts) = at_every_level(|| select(t, k as i64));
    let values = f32s(t);
    let w = k.min(d);
    for row in 0..n {
        let expected = reference::topk_row(&values[row * d..(row + 1) * d], k);
        assert_eq!(counts[row], expected.len() as i64);
        for slot in 0..w {
            let (act, latent) = expected.get(slot).copied().unwrap_or((0.0, -1));
            let act = if act.is_nan() {
                u32::MAX
            } else {
                act.to_bits()
            };
            assert_eq!(
                (acts[row * w + slot], latents[row * w + slot]),
                (act, latent),
                "row {row} slot {slot}"
            );
        }
    }
}

/// Few distinct values, or many, with both signs, both zeros, infinities and both kinds of NaN here
/// and there.
fn awkward() -> impl Strategy<Value = (usize, usize, Vec<f32>)> {
    let usual = prop_oneof![
        4 => (-3i32..=4).prop_map(|v| v as f32 * 0.5).boxed(),
        4 => (-1.0f32..3.0).boxed(),
        1 => any::<f32>().boxed(),
        1 => Just(-0.0f32).boxed(),
    ];
    let value = prop_oneof![
        60 => usual,
        1 => prop_oneof![Just(f32::NAN), Just(-f32::NAN), Just(f32::from_bits(0x7fab_cdef)), Just(f32::INFINITY), Just(f32::NEG_INFINITY)],
    ];
    (0usize..5, prop_oneof![1usize..70, 190usize..330]).prop_flat_map(move |(n, d)| {
        (
            Just(n),
            Just(d),
            proptest::collection::vec(value.clone(), n * d),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn selection_is_a_sort((n, d, values) in awkward(), k in prop_oneof![1usize..20, 90usize..340]) {
        let t = tensor(&values, n, d);
        check(&t, k);
        check(&t.to_kind(Kind::BFloat16), k);
    }
}

#[test]
fn wide_rows_of_every_spread_are_sorted() {
    let normal = Tensor::randn([40, 5003], (Kind::Float, Device::Cpu));
    let tail = (&normal * 6.0).exp(); // 50 octaves
    let equal = Tensor::ones([3, 5003], (Kind::Float, Device::Cpu));
    let tied = (&normal * 4.0).round();
    let negative = -normal.abs();
    let tiny = &normal * 1e-44; // subnormal
    for t in [&normal, &tail, &equal, &tied, &negative, &tiny] {
        for k in [1, 50, 820, 5003, 6000] {
            check(t, k);
            check(&t.to_kind(Kind::BFloat16), k);
        }
    }
}

#[test]
fn one_threshold_serves_rows_of_different_scale() {
    // The guess of a row comes from the row before, here off by up to 80 octaves either way.
    let scale = Tensor::from_slice(
        &(0..200)
            .map(|i| 10f32.powi((i * 7) % 25 - 12))
            .collect::<Vec<f32>>(),
    );
    let t = Tensor::randn([200, 700], (Kind::Float, Device::Cpu)) * scale.unsqueeze(1);
    check(&t, 30);
    check(&t.to_kind(Kind::BFloat16), 30);
}

#[test]
fn encoding_in_bf16_selects_from_the_bf16_product() {
    let (x, w) = (
        Tensor::randn([70, 24], (Kind::Float, Device::Cpu)),
        Tensor::randn([24, 300], (Kind::BFloat16, Device::Cpu)),
    );
    let (b_enc, b_dec) = (
        Tensor::randn([300], (Kind::Float, Device::Cpu)),
        Tensor::randn([24], (Kind::Float, Device::Cpu)),
    );
    let encoder = Encoder {
        w_enc: &w,
        b_enc: &b_enc,
        b_dec: Some(&b_dec),
        scale: None,
    };
    let relu = pre_acts(&x, &encoder).unwrap();
    assert_eq!(relu.kind(), Kind::BFloat16);
    check(&relu, 20);
    let (direct, encoded) = (
        topk_active(&relu, 20).unwrap(),
        encode_topk(&x, &encoder, 20).unwrap(),
    );
    assert_eq!(f32s(&direct.acts), f32s(&encoded.acts));
    assert_eq!(i64s(&direct.latents), i64s(&encoded.latents));
    assert_eq!(encoded.acts.kind(), Kind::Float);
}
