//! Steering and set overlap at every instruction set, f32 and bf16.

use harness_kernels::{jaccard_rows, steer_add};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::{
    common::{at_every_level, f32s, tensor},
    reference,
};

fn bits(t: &Tensor) -> Vec<u32> {
    f32s(t).into_iter().map(f32::to_bits).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn overlap_is_that_of_sets((n, ka, kb, v) in (0usize..300, 0usize..7, 0usize..7).prop_flat_map(|(n, ka, kb)| {
        (Just(n), Just(ka), Just(kb), proptest::collection::vec(-1i64..9, n * (ka + kb)))
    })) {
        let (a, b) = v.split_at(n * ka);
        let matrix = |v: &[i64], k: usize| Tensor::from_slice(v).view([n as i64, k as i64]);
        let fast = Vec::<f64>::try_from(jaccard_rows(&matrix(a, ka), &matrix(b, kb)).unwrap()).unwrap();
        prop_assert_eq!(fast.len(), n);
        for row in 0..n {
            let slow = reference::jaccard_row(&a[row * ka..(row + 1) * ka], &b[row * kb..(row + 1) * kb]);
            prop_assert_eq!(fast[row], slow);
        }
    }

    #[test]
    fn steering_rounds_like_libtorch((b, t, d, v) in (1usize..4, 1usize..70, 1usize..40).prop_flat_map(|(b, t, d)| {
        (Just(b), Just(t), Just(d), proptest::collection::vec(-2.0f32..2.0, b * t * d + b * d + 2 * b * t))
    })) {
        let (resid, v) = v.split_at(b * t * d);
        let (direction, v) = v.split_at(b * d);
        let (coeff, scale) = v.split_at(b * t);
        let coeff: Vec<f32> = coeff.iter().map(|c| if c.abs() < 0.7 { 0.0 } else { *c }).collect();
        let shape = [b as i64, t as i64, d as i64];
        let (tc, ts, td) = (tensor(&coeff, b, t), tensor(scale, b, t), tensor(direction, b, d));
        for kind in [Kind::Float, Kind::BFloat16] {
            let resid = Tensor::from_slice(resid).view(shape).to_kind(kind);
            let fast = at_every_level(|| {
                let mut moved = resid.copy();
                steer_add(&mut moved, &tc, &ts, &td).unwrap();
                bits(&moved)
            });
            let delta = (&tc * &ts).unsqueeze(2) * td.unsqueeze(1);
            let slow = (resid.to_kind(Kind::Float) + delta).to_kind(kind);
            let slow = slow.where_self(&tc.ne(0).unsqueeze(2), &resid);
            prop_assert_eq!(fast, bits(&slow));
            // a view with gaps goes another way to the same bits
            let gaps = Tensor::zeros([shape[0], shape[1], 2 * shape[2]], (kind, Device::Cpu));
            let mut view = gaps.narrow(2, 0, shape[2]);
            view.copy_(&resid);
            steer_add(&mut view, &tc, &ts, &td).unwrap();
            prop_assert_eq!(bits(&view), bits(&slow));
        }
    }
}

#[test]
fn wrong_operands_are_named() {
    let ids = |v: &[i64], n| Tensor::from_slice(v).view([n, v.len() as i64 / n]);
    let e = jaccard_rows(&ids(&[0, 1], 1), &ids(&[-2], 1))
        .unwrap_err()
        .to_string();
    assert!(e.contains("`b`") && e.contains("-2"), "{e}");
    assert!(
        jaccard_rows(&ids(&[0, 1], 1), &ids(&[0, 1], 2))
            .unwrap_err()
            .is_argument()
    );
}
