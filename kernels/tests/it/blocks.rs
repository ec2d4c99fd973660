//! The operations of a transformer's block against plain loops and against libtorch.

use harness_kernels::{linear, rms_norm, rotate_halves, swiglu};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::{
    common::{at_every_level, f32s, tensor},
    reference,
};

/// Rows of a width, with zeros, large and small numbers.
fn rows() -> impl Strategy<Value = (usize, usize, Vec<f32>)> {
    (0usize..5, 1usize..70).prop_flat_map(|(n, d)| {
        let value = prop_oneof![
            6 => -3.0f32..3.0,
            1 => Just(0.0f32),
            1 => -1e4f32..1e4,
            1 => -1e-4f32..1e-4,
        ];
        (
            Just(n),
            Just(d),
            proptest::collection::vec(value, n * d + d),
        )
    })
}

fn bits(t: &Tensor) -> Vec<u32> {
    f32s(t).iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn norms_are_those_of_the_loop((n, d, values) in rows(), eps in prop_oneof![Just(1e-6), Just(1e-5)]) {
        let (x, weight) = values.split_at(n * d);
        let (xs, weights) = (tensor(x, n, d), Tensor::from_slice(weight));
        let fast = at_every_level(|| bits(&rms_norm(&xs, &weights, eps).unwrap()));
        for row in 0..n {
            let slow = reference::rms_norm_row(&x[row * d..(row + 1) * d], weight, eps);
            for (i, slow) in slow.iter().enumerate() {
                let fast = f64::from(f32::from_bits(fast[row * d + i]));
                prop_assert!((fast - slow).abs() <= 1e-6 * (slow.abs() + 1e-30), "{} for {}", fast, slow);
            }
        }
        // In bf16 both roundings are those of the references: only a mean at the edge of one may
        // differ.
        let (xs, weights) = (xs.to_kind(Kind::BFloat16), weights.to_kind(Kind::BFloat16));
        let fast = rms_norm(&xs, &weights, eps).unwrap();
        let wide = xs.to_kind(Kind::Float);
        let scale = (wide.square().mean_dim(-1, true, Kind::Float) + eps).rsqrt();
        let slow = (&wide * scale).to_kind(Kind::BFloat16) * &weights;
        prop_assert_eq!(fast.kind(), Kind::BFloat16);
        for (fast, slow) in f32s(&fast).iter().zip(f32s(&slow)) {
            prop_assert!((fast - slow).abs() <= 0.0157 * slow.abs(), "{} for {}", fast, slow);
        }
    }

    #[test]
    fn dense_layers_of_few_rows_are_those_of_the_loop(
        (m, n, k) in (1usize..4, 1usize..140, 1usize..70), is_biased: bool, seed in 0i64..1000,
    ) {
        tch::manual_seed(seed);
        let random = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        for kind in [Kind::Float, Kind::BFloat16] {
            let x = random([m as i64, k as i64]).to_kind(kind);
            let weight = random([n as i64, k as i64]).to_kind(kind);
            let bias = is_biased.then(|| random([1, n as i64]).to_kind(kind).view([-1]));
            let layer = |x: &Tensor| linear(x, &weight, bias.as_ref()).unwrap();
            let fast = at_every_level(|| bits(&layer(&x)));
            let wide = Kind::Double;
            let slow = x.to_kind(wide).matmul(&weight.to_kind(wide).tr())
                + bias.as_ref().map_or(Tensor::zeros([n as i64], (wide, Device::Cpu)), |b| b.to_kind(wide));
            // A sum of k products, rounded once to the kind of the operands.
            let scale = x.to_kind(wide).abs().matmul(&weight.to_kind(wide).abs().tr()) + 1.0;
            let rounding = if kind == Kind::Float { 2e-7 } else { 4e-3 };
            let (slow, scale) = (f32s(&slow), f32s(&scale));
            for (i, bits) in fast.iter().enumerate() {
                let fast = f32::from_bits(*bits);
                let limit = rounding * slow[i].abs() + 1e-6 * scale[i];
                prop_assert!((fast - slow[i]).abs() <= limit, "{} for {}", fast, slow[i]);
            }
            // Two rows at once are two rows one by one.
            if m == 2 {
                let rows: Vec<u32> = (0..2).flat_map(|row| bits(&layer(&x.get(row)))).collect();
                prop_assert_eq!(fast, rows);
            }
        }
    }

    #[test]
    fn rotations_are_libtorchs_bit_for_bit(
        (r, t, h, half) in (1usize..4, 1usize..5, 1usize..4, 1usize..20), shared: bool, seed in 0i64..1000, kinds in 0usize..3,
    ) {
        tch::manual_seed(seed);
        let (kind, table) = [
            (Kind::Float, Kind::Float), (Kind::BFloat16, Kind::BFloat16), (Kind::BFloat16, Kind::Float),
        ][kinds];
        let (r, t, h, half) = (r as i64, t as i64, h as i64, half as i64);
        let x = Tensor::randn([r, t, h, 2 * half], (Kind::Float, Device::Cpu)).to_kind(kind);
        let angles = Tensor::randn([if shared { 1 } else { r }, t, 1, half], (Kind::Float, Device::Cpu)) * 3.0;
        let (cos, sin) = (angles.cos().to_kind(table), angles.sin().to_kind(table));
        let wide = x.to_kind(table);
        let halves = wide.chunk(2, -1);
        let (a, b) = (&halves[0], &halves[1]);
        let slow = Tensor::cat(&[a * &cos - b * &sin, b * &cos + a * &sin], -1).to_kind(kind);
        let fast = at_every_level(|| bits(&rotate_halves(x.copy(), &cos, &sin).unwrap()));
        prop_assert_eq!(fast, bits(&slow));
    }

    #[test]
    fn gates_are_those_of_the_loop((n, d, values) in rows()) {
        let gate = tensor(&values[..n * d], n, d);
        let up = gate.flip([1]) + 0.5;
        let fast = at_every_level(|| bits(&swiglu(gate.copy(), &up).unwrap()));
        let (gates, ups) = (f32s(&gate), f32s(&up));
        for (i, fast) in fast.iter().enumerate() {
            let slow = reference::swiglu(gates[i], ups[i]);
            let fast = f64::from(f32::from_bits(*fast));
            // Below -87 the exponential is 0; what is left out is smaller than any normal number.
            prop_assert!((fast - slow).abs() <= 1e-6 * slow.abs() + 1e-33, "{} for {}", fast, slow);
        }
        let (gate, up) = (gate.to_kind(Kind::BFloat16), up.to_kind(Kind::BFloat16));
        let slow = gate.silu() * &up;
        for (fast, slow) in f32s(&swiglu(gate.copy(), &up).unwrap()).iter().zip(f32s(&slow)) {
            prop_assert!((fast - slow).abs() <= 0.0157 * slow.abs() + 1e-33, "{} for {}", fast, slow);
        }
    }
}

#[test]
fn what_is_not_a_number_stays_visible() {
    let x = Tensor::from_slice(&[1.0f32, f32::NAN, 2.0, f32::INFINITY]).view([2, 2]);
    let ones = Tensor::ones([2], (Kind::Float, Device::Cpu));
    assert!(
        f32s(&rms_norm(&x, &ones, 1e-6).unwrap())
            .iter()
            .any(|v| v.is_nan())
    );
    let gate = Tensor::from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0]);
    let gated = f32s(&swiglu(gate.copy(), &gate.ones_like()).unwrap());
    assert!(
        gated[0].is_nan() && gated[1] == f32::INFINITY && gated[3] == 0.0,
        "{gated:?}"
    );
}

/// Models that are trained go through the same functions.
#[test]
fn what_carries_gradients_keeps_them_and_its_values() {
    let x = Tensor::randn([3, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let weight = Tensor::rand([8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let normed = rms_norm(&x, &weight, 1e-6).unwrap();
    let plain = rms_norm(&x.detach(), &weight.detach(), 1e-6).unwrap();
    assert!((&normed - plain).abs().max().double_value(&[]) < 1e-6);
    let gated = swiglu(&normed * 1.0, &x).unwrap();
    let heads = gated.view([1, 3, 2, 4]);
    let angles = Tensor::rand([1, 3, 1, 2], (Kind::Float, Device::Cpu));
    let turned = rotate_halves(heads, &angles.cos(), &angles.sin()).unwrap();
    let turned = linear(
        &turned.view([1, 24]),
        &weight.repeat([3]).view([1, 24]),
        None,
    )
    .unwrap()
        * turned;
    turned.square().sum(Kind::Float).backward();
    for t in [&x, &weight] {
        assert!(t.grad().abs().max().double_value(&[]) > 0.0);
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let x = Tensor::rand([2, 3, 2, 4], (Kind::Float, Device::Cpu));
    let table = |shape: [i64; 4]| Tensor::rand(shape, (Kind::Float, Device::Cpu));
    let error = rms_norm(&x, &Tensor::rand([3], (Kind::Float, Device::Cpu)), 1e-6).unwrap_err();
    assert!(
        error.to_string().contains("`weight` is [3], expected [4]"),
        "{error}"
    );
    let fits = table([1, 3, 1, 2]);
    for shape in [[1, 2, 1, 2], [3, 3, 1, 2], [1, 3, 1, 4], [1, 3, 2, 2]] {
        let error = rotate_halves(x.copy(), &table(shape), &fits).unwrap_err();
        assert!(error.to_string().contains("`cos` is"), "{error}");
    }
    let error = swiglu(x.copy(), &fits).unwrap_err();
    assert!(error.to_string().contains("`up` is"), "{error}");
    let weight = Tensor::rand([3, 4], (Kind::Float, Device::Cpu));
    let error = linear(&x, &weight.tr(), None).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`weight` is [4, 3], expected [n, 4]"),
        "{error}"
    );
    let error = linear(
        &x,
        &weight,
        Some(&Tensor::rand([4], (Kind::Float, Device::Cpu))),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("`bias` is [4], expected [3]"),
        "{error}"
    );
}
