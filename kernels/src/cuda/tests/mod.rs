//! Every CUDA kernel against its plain reference or its CPU form. The kernels run on the first CUDA
//! device where a build with the feature `cuda` finds one, and in the emulation elsewhere, launched
//! as on a device.

mod blocks;
#[cfg(feature = "cuda")]
mod nvrtc;
mod products;
mod rows;

#[cfg(feature = "cuda")]
use std::sync::OnceLock;

use proptest::prelude::*;
use tch::{Device, Kind, Tensor};

use super::{
    COMMON, DECODE, GATE, JACCARD, MOMENTS, NORM, ROTATE, SELECT, SOFTMAX, STEER, Source,
    emulation::{emulated, launched},
    grid::Grid,
};
#[cfg(feature = "cuda")]
use super::{driver, emulation};

const SOURCES: [(&Source, &[&str]); 9] = [
    (&SELECT, &["select_f32", "select_bf16"]),
    (&DECODE, &["decode_f32", "decode_bf16"]),
    (&SOFTMAX, &["compare_f32", "compare_bf16"]),
    (&STEER, &["steer_f32", "steer_bf16"]),
    (
        &MOMENTS,
        &[
            "squares_f32_f32",
            "squares_bf16_f32",
            "squares_f32_f64",
            "squares_bf16_f64",
            "columns_f32_f32",
            "columns_bf16_f32",
            "columns_f32_f64",
            "columns_bf16_f64",
        ],
    ),
    (&JACCARD, &["jaccard"]),
    (&NORM, &["norm_f32", "norm_bf16"]),
    (
        &ROTATE,
        &["rotate_f32_f32", "rotate_bf16_bf16", "rotate_bf16_f32"],
    ),
    (&GATE, &["gate_f32", "gate_bf16"]),
];

/// The kinds of numbers that most kernels take.
const KINDS: [Kind; 2] = [Kind::Float, Kind::BFloat16];

/// Does some work where kernels run: on the first CUDA device, or in the emulation where there is
/// none and where a test asks for it.
fn where_kernels_run(work: impl Fn(Device)) {
    #[cfg(feature = "cuda")]
    if !emulation::is_on()
        && let Some(device) = cuda_device()
    {
        return work(device);
    }
    emulated(|| work(Device::Cpu));
}

/// The first CUDA device, where libtorch has its CUDA half and sees one.
#[cfg(feature = "cuda")]
fn cuda_device() -> Option<Device> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    *DEVICE.get_or_init(|| {
        // SAFETY: this runs the constructors of libtorch's own library.
        let library =
            unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) }.ok()?;
        std::mem::forget(library);
        (tch::Cuda::device_count() > 0).then_some(Device::Cuda(0))
    })
}

#[cfg(feature = "cuda")]
#[test]
fn a_device_that_is_there_takes_part() {
    if cuda_device().is_none() {
        eprintln!("skipped: no CUDA device, the kernels ran in the emulation alone");
        return;
    }
    assert!(
        driver::is_present(),
        "there is a CUDA device, but libcuda or libnvrtc is on no library path: put the folder of \
         libnvrtc on LD_LIBRARY_PATH"
    );
}

/// Which numbers a test is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Palette {
    /// Few different ones, so that many are equal.
    Tied,
    /// Between -8 and 8.
    Smooth,
    /// Of these some zeros of either sign, very small and very large ones, and minus infinity.
    Extreme,
    /// Besides, NaN of either sign and plus infinity.
    Broken,
}

const EXTREME: [f32; 7] = [0.0, -0.0, 1e-41, -1e-38, 2e4, -3e4, f32::NEG_INFINITY];
/// The last is the NaN that a device makes itself.
const BROKEN: [f32; 5] = [
    f32::NAN,
    -f32::NAN,
    f32::INFINITY,
    f32::MAX,
    f32::from_bits(0x7fff_ffff),
];

fn palettes() -> impl Strategy<Value = Palette> {
    use Palette::{Broken, Extreme, Smooth, Tied};
    prop_oneof![Just(Tied), Just(Smooth), Just(Extreme), Just(Broken)]
}

/// `n` numbers of a palette, the same for the same seed.
fn draw(palette: Palette, seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 // 31 bits
    };
    let number = |bits: u32, choice: u32| {
        let smooth = bits as f32 / 2f32.powi(27) - 8.0;
        let pick = bits as usize >> 8;
        match (palette, choice % 16) {
            (Palette::Tied, _) => (bits >> 8) as f32 % 9.0 - 4.0,
            (Palette::Extreme | Palette::Broken, 0 | 1) => EXTREME[pick % EXTREME.len()],
            (Palette::Broken, 2) => BROKEN[pick % BROKEN.len()],
            _ => smooth,
        }
    };
    (0..n).map(|_| number(next(), next() >> 8)).collect()
}

/// `[n, d]` numbers of a palette.
fn matrix(palette: Palette, seed: u64, n: usize, d: usize, kind: Kind) -> Tensor {
    Tensor::from_slice(&draw(palette, seed, n * d))
        .view([n as i64, d as i64])
        .to_kind(kind)
}

fn f32s(t: &Tensor) -> Vec<f32> {
    Vec::try_from(t.to_device(Device::Cpu).flatten(0, -1).to_kind(Kind::Float)).unwrap()
}

fn i64s(t: &Tensor) -> Vec<i64> {
    Vec::try_from(t.to_device(Device::Cpu).flatten(0, -1)).unwrap()
}

/// Checks that two tensors have one kind and one shape, and numbers of the same bits; one NaN is as
/// good as another.
#[track_caller]
fn assert_same(ours: &Tensor, right: &Tensor) {
    assert_eq!((ours.kind(), ours.size()), (right.kind(), right.size()));
    for (i, (a, b)) in f32s(ours).iter().zip(&f32s(right)).enumerate() {
        assert!(
            a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
            "number {i} is {a}, not {b}"
        );
    }
}

/// Checks that numbers differ by at most `relative` of their size and `absolute`; NaN and infinity
/// are where they belong.
#[track_caller]
fn assert_near(ours: &[f64], right: &[f64], relative: f64, absolute: f64) {
    assert_eq!(ours.len(), right.len());
    for (i, (a, b)) in ours.iter().zip(right).enumerate() {
        let is_near = (a - b).abs() <= relative * b.abs() + absolute;
        assert!(
            is_near || a == b || a.is_nan() && b.is_nan(),
            "number {i} is {a}, not {b}"
        );
    }
}

fn f64s(t: &Tensor) -> Vec<f64> {
    Vec::try_from(
        t.to_device(Device::Cpu)
            .flatten(0, -1)
            .to_kind(Kind::Double),
    )
    .unwrap()
}

/// A copy whose memory begins one number behind an address that packs could be read from.
fn shifted(t: &Tensor) -> Tensor {
    let room = Tensor::zeros([t.numel() as i64 + 1], (t.kind(), t.device()));
    let mut place = room.narrow(0, 1, t.numel() as i64);
    place.copy_(&t.flatten(0, -1));
    place.view(&t.size()[..])
}

/// NVRTC finds no headers, and the emulation has all sources in one file.
#[test]
fn sources_stand_for_themselves() {
    for text in SOURCES
        .map(|(source, _)| source.text)
        .iter()
        .chain([&COMMON])
    {
        assert!(!text.contains("#include"));
    }
}

#[test]
fn grids_are_those_that_cuda_has() {
    let largest = i64::from(i32::MAX);
    assert!(Grid::new(largest, 65_535).is_some() && Grid::new(0, 0).is_some());
    for (x, y) in [(largest + 1, 1), (1 << 32, 1), (1, 65_536), (-1, 1)] {
        assert_eq!(Grid::new(x, y), None);
    }
    let threads = |n| Grid::flat(n).map(|grid| (grid.x, grid.y));
    assert_eq!(threads(0), Some((0, 1)));
    assert_eq!((threads(256), threads(257)), (Some((1, 1)), Some((2, 1))));
}

/// What the list above names is what the callers launch.
#[test]
fn every_kernel_has_a_caller() {
    emulated(|| {
        for kind in KINDS {
            products::launch_all(kind);
            rows::launch_all(kind);
            blocks::launch_all(kind);
        }
    });
    let listed = SOURCES.iter().flat_map(|(_, kernels)| kernels.iter());
    assert_eq!(launched(), listed.map(|&name| name.to_owned()).collect());
}
