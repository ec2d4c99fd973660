//! Norm, rotation and gate: the bits of the CPU forms.

use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use super::{
    KINDS, Palette, assert_same, draw, emulated, matrix, palettes, shifted, where_kernels_run,
};
use crate::{cuda, record::Counting, rms_norm, rotate_halves, swiglu};

/// Kinds of what is turned and of the tables.
const ROTATED: [(Kind, Kind); 3] = [
    (Kind::Float, Kind::Float),
    (Kind::BFloat16, Kind::BFloat16),
    (Kind::BFloat16, Kind::Float),
];

pub(super) fn launch_all(kind: Kind) {
    norms(&matrix(Palette::Smooth, 1, 3, 16, kind), 1);
    gates(&matrix(Palette::Smooth, 2, 3, 16, kind), 3);
    for (kind, table) in ROTATED {
        rotations([1, 2, 3, 8], true, (kind, table), Palette::Smooth, 4);
    }
}

fn norms(x: &Tensor, seed: u64) {
    let d = x.size()[1] as usize;
    let weight = matrix(Palette::Smooth, seed, 1, d, x.kind()).view([d as i64]);
    let right = rms_norm(x, &weight, 1e-6).unwrap();
    where_kernels_run(|device| {
        let (x, weight) = (x.to_device(device), weight.to_device(device));
        let normed = cuda::rms_norm(&x, &weight, 1e-6).unwrap().unwrap();
        assert_same(&normed, &right);
        for (x, weight) in [(shifted(&x), &weight), (x, &shifted(&weight))] {
            let normed = cuda::rms_norm(&x, weight, 1e-6).unwrap().unwrap();
            assert_same(&normed, &right);
        }
    });
}

fn gates(gate: &Tensor, seed: u64) {
    let (n, d) = (gate.size()[0] as usize, gate.size()[1] as usize);
    let up = matrix(Palette::Extreme, seed, n, d, gate.kind());
    let right = swiglu(gate.copy(), &up).unwrap();
    where_kernels_run(|device| {
        let (gate, up) = (gate.to_device(device), up.to_device(device));
        let pairs = [
            (gate.copy(), &up),
            (shifted(&gate), &up),
            (gate.copy(), &shifted(&up)),
        ];
        for (mut gate, up) in pairs {
            assert!(cuda::swiglu(&mut gate, up).unwrap());
            assert_same(&gate, &right);
        }
    });
}

/// - `shape`: `[r, t, h, half]`
/// - `is_shared`: whether all rows have the same tables
fn rotations(
    [r, t, h, half]: [usize; 4],
    is_shared: bool,
    (kind, table): (Kind, Kind),
    palette: Palette,
    seed: u64,
) {
    let size = [r, t, h, 2 * half].map(|n| n as i64);
    let x = matrix(palette, seed, r * t * h, 2 * half, kind).view(size);
    let rows = if is_shared { 1 } else { r };
    let angles = Tensor::from_slice(&draw(Palette::Smooth, !seed, rows * t * half)).view([
        rows as i64,
        t as i64,
        1,
        half as i64,
    ]);
    let (cos, sin) = (angles.cos().to_kind(table), angles.sin().to_kind(table));
    let right = rotate_halves(x.copy(), &cos, &sin).unwrap();
    where_kernels_run(|device| {
        let [x, cos, sin] = [&x, &cos, &sin].map(|t| t.to_device(device));
        let operands = [
            (x.copy(), &cos, &sin),
            (shifted(&x), &cos, &sin),
            (x.copy(), &shifted(&cos), &sin),
            (x.copy(), &cos, &shifted(&sin)),
        ];
        for (mut x, cos, sin) in operands {
            assert!(cuda::rotate_halves(&mut x, cos, sin).unwrap());
            assert_same(&x, &right);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn norms_have_the_bits_of_a_cpu(
        n in 0usize..4, d in prop_oneof![1usize..40, 250usize..2300], palette in palettes(), seed: u64, kind in 0usize..2,
    ) {
        norms(&matrix(palette, seed, n, d, KINDS[kind]), !seed);
    }

    #[test]
    fn gates_have_the_bits_of_a_cpu(
        n in 0usize..4, d in prop_oneof![1usize..40, 250usize..2300], palette in palettes(), seed: u64, kind in 0usize..2,
    ) {
        gates(&matrix(palette, seed, n, d, KINDS[kind]), !seed);
    }

    #[test]
    fn rotations_have_the_bits_of_a_cpu(
        shape in (1usize..4, 1usize..5, 1usize..4, prop_oneof![1usize..20, Just(8), Just(32), Just(64)]),
        is_shared: bool, palette in palettes(), seed: u64, kinds in 0usize..3,
    ) {
        let (r, t, h, half) = shape;
        rotations([r, t, h, half], is_shared, ROTATED[kinds], palette, seed);
    }
}

/// Squares that f32 does not hold, and rows of zeros.
#[test]
fn norms_of_very_large_and_very_small_rows() {
    for value in [3e38f32, 1e30, 1e-30, 1e-44, 0.0] {
        let x = Tensor::full([2, 300], f64::from(value), (Kind::Float, Device::Cpu));
        for kind in KINDS {
            norms(&x.to_kind(kind), 9);
        }
    }
}

/// A thread takes a pack, a block 256 of them: the last ones are full, or one number over.
#[test]
fn no_number_at_the_end_of_a_block_is_left_out() {
    for n in [1, 5, 8, 1023, 1024, 1025, 2047, 2048, 2049, 4097] {
        for kind in KINDS {
            gates(&matrix(Palette::Smooth, 3, 1, n, kind), 4);
        }
        for kinds in ROTATED {
            rotations([1, n, 1, 1], true, kinds, Palette::Smooth, 5);
            rotations([n, 1, 1, 8], false, kinds, Palette::Smooth, 6);
        }
    }
}

/// Small numbers behind large ones, whose squares f32 would lose one by one.
#[test]
fn norms_are_made_of_sums_in_f64() {
    let mut row = vec![0.99f32; 9216];
    row[..256].fill(4096.0);
    norms(&Tensor::from_slice(&row).view([1, 9216]), 9);
}

#[test]
fn each_is_one_operation() {
    let operations = |work: &dyn Fn()| {
        let counting = Counting::begin();
        emulated(work);
        counting.so_far().operations
    };
    for kind in KINDS {
        let x = matrix(Palette::Smooth, 1, 4, 16, kind);
        let weight = x.get(0);
        let by_head = x.view([1, 4, 2, 8]);
        let table = matrix(Palette::Smooth, 2, 4, 4, kind).view([1, 4, 1, 4]);
        assert_eq!(
            operations(&|| drop(cuda::rms_norm(&x, &weight, 1e-6).unwrap().unwrap())),
            1
        );
        assert_eq!(
            operations(&|| assert!(cuda::swiglu(&mut x.shallow_clone(), &x).unwrap())),
            1
        );
        let rotate = || cuda::rotate_halves(&mut by_head.shallow_clone(), &table, &table).unwrap();
        assert_eq!(operations(&|| assert!(rotate())), 1);
    }
}

#[test]
fn what_does_not_apply_is_left_to_libtorch_untouched() {
    emulated(|| {
        let x = matrix(Palette::Smooth, 1, 4, 16, Kind::Float);
        let doubles = x.to_kind(Kind::Double);
        let halves = x.to_kind(Kind::BFloat16);
        let tracked = x.copy().set_requires_grad(true);
        let product = &tracked * 2.0;
        let gaps = Tensor::cat(&[&x, &x], 1).narrow(1, 0, 16);
        // With an operand of another kind, with gradients, and with gaps.
        let pairs = [
            (&doubles, &doubles),
            (&x, &halves),
            (&halves, &x),
            (&tracked, &x),
            (&product, &x),
            (&x, &product),
            (&gaps, &x),
        ];
        for (a, b) in pairs {
            let before = a.copy();
            assert!(cuda::rms_norm(a, &b.get(0), 1e-6).unwrap().is_none());
            assert!(!cuda::swiglu(&mut a.shallow_clone(), b).unwrap());
            if (a.kind(), b.kind()) != (Kind::BFloat16, Kind::Float) {
                let mut heads = a.unflatten(1, [2i64, 8]).unsqueeze(0);
                let table = b.narrow(1, 0, 4).contiguous().view([1, 4, 1, 4]);
                assert!(!cuda::rotate_halves(&mut heads, &table, &table).unwrap());
            }
            assert_same(a, &before);
        }
    });
    // Not in the emulation: tensors of the host have a CPU form.
    let x = matrix(Palette::Smooth, 1, 4, 16, Kind::Float);
    assert!(cuda::rms_norm(&x, &x.get(0), 1e-6).unwrap().is_none());
}
