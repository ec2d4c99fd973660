//! The products against plain loops.

use harness_kernels::{
    Encoder, Groups, decode_sparse, encode_topk, latent_acts, pre_acts, rows_dot, steer_add,
    topk_active,
};
use proptest::prelude::*;
use tch::{Kind, Tensor};

use crate::{
    common::{f32s, i64s},
    reference,
};

fn tensor(values: &[f32], [n, d]: [usize; 2]) -> Tensor {
    crate::common::tensor(values, n, d)
}

fn same(a: f32, b: f32) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

/// Relative to the size of the terms: f32 products accumulate some ulps per term.
fn close(fast: f32, slow: f64, scale: f64) -> bool {
    (f64::from(fast) - slow).abs() <= 1e-5 * (1.0 + scale)
}

/// A matrix with many equal values, zeros, negatives, infinities and NaN.
fn awkward(max_rows: usize, max_cols: usize) -> impl Strategy<Value = (usize, usize, Vec<f32>)> {
    (0..=max_rows, 1..=max_cols).prop_flat_map(|(n, f)| {
        let value = prop_oneof![
            6 => (-2i32..=4).prop_map(|v| v as f32 * 0.5),
            3 => -1.0f32..3.0,
            1 => Just(f32::NAN),
            1 => Just(f32::INFINITY),
        ];
        (Just(n), Just(f), proptest::collection::vec(value, n * f))
    })
}

/// Rows, width, table rows, active slots, and numbers enough for all of them.
fn problem() -> impl Strategy<Value = (usize, usize, usize, usize, Vec<f32>)> {
    (0usize..9, 1usize..17, 1usize..41, 1usize..7).prop_flat_map(|(n, d, f, w)| {
        let len = n * d + 2 * f * d + f + d + n * w;
        (
            Just(n),
            Just(d),
            Just(f),
            Just(w),
            proptest::collection::vec(-2.0f32..2.0, len),
        )
    })
}

/// Latents of `n` rows: distinct within a row, some unused.
fn latents(n: usize, w: usize, f: usize) -> Vec<i64> {
    (0..n * w)
        .map(|i| {
            if i % 5 == 4 || i % w >= f {
                -1
            } else {
                ((i % w) * 7 + i / w * 3) as i64 % f as i64
            }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn topk_keeps_order_of_ties_and_shows_nan((n, f, values) in awkward(7, 33), k in 1usize..12) {
        let relu: Vec<f32> = values.iter().map(|v| if v.is_nan() { *v } else { v.max(0.0) }).collect();
        let active = topk_active(&tensor(&relu, [n, f]), k as i64).unwrap();
        let w = k.min(f);
        prop_assert_eq!(active.acts.size(), [n as i64, w as i64]);
        let (acts, ids, counts) = (f32s(&active.acts), i64s(&active.latents), i64s(&active.n_active));
        for row in 0..n {
            let expected = reference::topk_row(&relu[row * f..(row + 1) * f], k);
            prop_assert_eq!(counts[row], expected.len() as i64);
            for slot in 0..w {
                let (act, latent) = expected.get(slot).copied().unwrap_or((0.0, -1));
                prop_assert_eq!(ids[row * w + slot], latent);
                prop_assert!(same(acts[row * w + slot], act));
            }
        }
    }

    #[test]
    fn encode_agrees_with_loops((n, d, f, w, v) in problem()) {
        let (x, v) = v.split_at(n * d);
        let (w_enc, v) = v.split_at(d * f);
        let (b_enc, v) = v.split_at(f);
        let (b_dec, v) = v.split_at(d);
        let scale = &v[..f.min(v.len())];
        let scale: Vec<f32> = (0..f).map(|i| scale.get(i).map_or(1.0, |s| s.abs() + 0.1)).collect();
        let (tx, tw) = (tensor(x, [n, d]), tensor(w_enc, [d, f]));
        let (tb, td, ts) = (Tensor::from_slice(b_enc), Tensor::from_slice(b_dec), Tensor::from_slice(&scale));
        let encoder = Encoder { w_enc: &tw, b_enc: &tb, b_dec: Some(&td), scale: Some(&ts) };
        let fast = f32s(&pre_acts(&tx, &encoder).unwrap());
        for row in 0..n {
            let slow = reference::pre_acts_row(&x[row * d..(row + 1) * d], w_enc, b_enc, b_dec, &scale);
            for latent in 0..f {
                prop_assert!(close(fast[row * f + latent], f64::from(slow[latent]), 8.0 * d as f64));
            }
        }
        let active = encode_topk(&tx, &encoder, w as i64).unwrap();
        let direct = topk_active(&pre_acts(&tx, &encoder).unwrap(), w as i64).unwrap();
        prop_assert_eq!(f32s(&active.acts), f32s(&direct.acts));
        prop_assert_eq!(i64s(&active.latents), i64s(&direct.latents));

        let chosen: Vec<i64> = (0..f as i64).rev().step_by(2).collect();
        let part = f32s(&latent_acts(&tx, &encoder, &Tensor::from_slice(&chosen)).unwrap());
        for row in 0..n {
            for (i, &latent) in chosen.iter().enumerate() {
                prop_assert!(close(part[row * chosen.len() + i], f64::from(fast[row * f + latent as usize]), 8.0 * d as f64));
            }
        }
    }

    #[test]
    fn sparse_products_agree_with_loops((n, d, f, w, v) in problem()) {
        let (rows, v) = v.split_at(n * d);
        let (table, v) = v.split_at(f * d);
        let (b_dec, v) = v.split_at(d);
        let acts = &v[..n * w];
        let ids = latents(n, w, f);
        let (tr, tt, ta) = (tensor(rows, [n, d]), tensor(table, [f, d]), tensor(acts, [n, w]));
        let ti = Tensor::from_slice(&ids).view([n as i64, w as i64]);

        let decoded = f32s(&decode_sparse(&ta, &ti, &tt, Some(&Tensor::from_slice(b_dec))).unwrap());
        for row in 0..n {
            let slow = reference::decode_row(&acts[row * w..(row + 1) * w], &ids[row * w..(row + 1) * w], table, b_dec);
            for i in 0..d {
                prop_assert!(close(decoded[row * d + i], slow[i], 4.0 * w as f64));
            }
        }

        let summed = f32s(&Groups::new(&ti, f as i64).unwrap().accumulate(&tr, &ta).unwrap());
        let dots = f32s(&rows_dot(&tr, &tt, &ti).unwrap());
        let mut slow = vec![0f64; f * d];
        for (slot, &latent) in ids.iter().enumerate() {
            let row = slot / w;
            if latent < 0 {
                prop_assert_eq!(dots[slot], 0.0);
                continue;
            }
            let mut dot = 0.0;
            for i in 0..d {
                slow[latent as usize * d + i] += f64::from(acts[slot]) * f64::from(rows[row * d + i]);
                dot += f64::from(rows[row * d + i]) * f64::from(table[latent as usize * d + i]);
            }
            prop_assert!(close(dots[slot], dot, 4.0 * d as f64));
        }
        for (fast, slow) in summed.iter().zip(&slow) {
            prop_assert!(close(*fast, *slow, 4.0 * (n * w) as f64));
        }
    }

    #[test]
    fn steering_moves_only_chosen_positions((b, t, d, v) in (1usize..4, 1usize..6, 1usize..9).prop_flat_map(|(b, t, d)| {
        (Just(b), Just(t), Just(d), proptest::collection::vec(-2.0f32..2.0, b * t * d + b * d + 2 * b * t))
    })) {
        let (resid, v) = v.split_at(b * t * d);
        let (direction, v) = v.split_at(b * d);
        let (coeff, scale) = v.split_at(b * t);
        let mut resid: Vec<f32> = resid.to_vec();
        resid[0] = -0.0;
        let coeff: Vec<f32> = coeff.iter().enumerate().map(|(i, c)| if i % 2 == 0 { 0.0 } else { *c }).collect();
        let mut scale = scale.to_vec();
        scale[0] = f32::NAN; // its coefficient is 0
        let mut fast = Tensor::from_slice(&resid).view([b as i64, t as i64, d as i64]);
        steer_add(&mut fast, &tensor(&coeff, [b, t]), &tensor(&scale, [b, t]), &tensor(direction, [b, d])).unwrap();
        let fast = f32s(&fast);
        for i in 0..b * t {
            for j in 0..d {
                let before = resid[i * d + j];
                let after = fast[i * d + j];
                if coeff[i] == 0.0 {
                    prop_assert_eq!(before.to_bits(), after.to_bits());
                } else {
                    let slow = f64::from(before) + f64::from(coeff[i]) * f64::from(scale[i]) * f64::from(direction[i / t * d + j]);
                    prop_assert!(close(after, slow, 8.0));
                }
            }
        }
    }
}

#[test]
fn nan_reaches_the_output() {
    let w = Tensor::from_slice(&[1f32, 0., 0., 1.]).view([2, 2]);
    let b = Tensor::from_slice(&[0f32, 0.]);
    let encoder = Encoder {
        w_enc: &w,
        b_enc: &b,
        b_dec: None,
        scale: None,
    };
    let x = Tensor::from_slice(&[f32::NAN, 1., 1., 2.]).view([2, 2]);
    let active = encode_topk(&x, &encoder, 1).unwrap();
    assert!(f32s(&active.acts)[0].is_nan());
    assert_eq!((f32s(&active.acts)[1], i64s(&active.latents)[1]), (2.0, 1));
    let y = decode_sparse(&active.acts, &active.latents, &w, None).unwrap();
    assert!(f32s(&y)[..2].iter().any(|v| v.is_nan()));
}

#[test]
fn wide_tables_gather_and_narrow_ones_multiply_alike() {
    // 7 · 32 < 4096: the gathering path; the property test above covers the dense one.
    let table = Tensor::arange(4096 * 3, (Kind::Float, tch::Device::Cpu))
        .view([4096, 3])
        .sin();
    let rows = Tensor::arange(15, (Kind::Float, tch::Device::Cpu))
        .view([5, 3])
        .cos();
    let ids = Tensor::from_slice(
        &(0..35)
            .map(|i| if i % 6 == 0 { -1 } else { i * 113 })
            .collect::<Vec<i64>>(),
    )
    .view([5, 7]);
    let fast = f32s(&rows_dot(&rows, &table, &ids).unwrap());
    let dense = rows
        .matmul(&table.tr())
        .gather(1, &ids.clamp_min(0), false)
        .masked_fill(&ids.lt(0), 0);
    for (a, b) in fast.iter().zip(f32s(&dense)) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn wrong_operands_are_named() {
    let t = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, tch::Device::Cpu));
    let ids = |v: i64| Tensor::full([1, 2], v, (Kind::Int64, tch::Device::Cpu));
    let e = decode_sparse(&t(&[1, 2]), &ids(9), &t(&[9, 3]), None)
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("latents") && e.contains('9') && e.contains("-1 to 8"),
        "{e}"
    );
    let e = decode_sparse(&t(&[1, 3]), &ids(0), &t(&[9, 3]), None)
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("latents") && e.contains("[1, 2]") && e.contains("[1, 3]"),
        "{e}"
    );
    let (w, b) = (t(&[4, 8]), t(&[8]));
    let encoder = Encoder {
        w_enc: &w,
        b_enc: &b,
        b_dec: None,
        scale: None,
    };
    assert!(
        encode_topk(&t(&[2, 5]), &encoder, 1)
            .unwrap_err()
            .is_argument()
    );
    assert!(topk_active(&t(&[2, 5]), 0).unwrap_err().is_argument());
}
