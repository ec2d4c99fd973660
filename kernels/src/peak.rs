//! What this process can do at best, for fractions of it: matrix products and memory.

use std::time::Instant;

use tch::{Device, Kind, Tensor};

use crate::Result;

/// `[m, k, n]` of the products tried: near-cubic ones, and the shapes of an encoder and a head. The
/// small ones are short enough to be left alone for once on a busy machine. From small to large.
const SHAPES: [[i64; 3]; 6] = [
    [512, 512, 512],
    [512, 1024, 2048],
    [1024, 1024, 1024],
    [512, 1024, 4096],
    [2048, 2048, 2048],
    [512, 2048, 8192],
];
/// Shapes for CUDA devices besides, which the others do not fill.
const DEVICE_SHAPES: [[i64; 3]; 2] = [[4096, 4096, 4096], [8192, 8192, 8192]];
/// Seconds that a further shape may take: where products are so slow, larger ones are no faster.
const LONGEST: f64 = 1.0;
/// Repetitions of each shape at least.
const REPETITIONS: u32 = 3;

/// Largest measured rate of libtorch's matrix products in FLOP/s, on the threads torch has now.
///
/// The best of a few shapes, each at least three times, more while `seconds` are not spent; shapes
/// that would take long are left out. Two operations a multiply-add.
///
/// # Errors
/// libtorch, for example when the device has no memory left.
pub fn matmul_flops(device: Device, kind: Kind, seconds: f64) -> Result<f64> {
    let each = seconds / SHAPES.len() as f64;
    best_rate(device, kind, each, |_, predicted| predicted <= LONGEST)
}

/// As [`matmul_flops`], in about `seconds` in all: shapes that would take it beyond are left out.
///
/// # Errors
/// As [`matmul_flops`].
pub fn matmul_flops_within(device: Device, kind: Kind, seconds: f64) -> Result<f64> {
    let each = seconds / SHAPES.len() as f64;
    best_rate(device, kind, each, |spent, predicted| {
        spent + predicted <= seconds
    })
}

/// The best rate of the first shape, which also pays for what a device does once, and of those of
/// the others that `is_affordable` by the seconds spent on others and those that it will take.
/// - `each`: seconds of a shape at least
fn best_rate(
    device: Device,
    kind: Kind,
    each: f64,
    is_affordable: impl Fn(f64, f64) -> bool,
) -> Result<f64> {
    let _no_grad = tch::no_grad_guard();
    let more: &[[i64; 3]] = match device {
        Device::Cuda(_) => &DEVICE_SHAPES,
        _ => &[],
    };
    let [first, others @ ..] = &SHAPES;
    let mut best = product_rate(device, kind, first, each)?;
    let started = Instant::now();
    for shape in others.iter().chain(more) {
        let predicted = f64::from(REPETITIONS + 1) * flops(shape) / best;
        if !is_affordable(started.elapsed().as_secs_f64(), predicted) {
            continue;
        }
        match product_rate(device, kind, shape, each) {
            Ok(rate) => best = best.max(rate),
            // A device that models have filled has no room for the larger shapes.
            Err(_) => break,
        }
    }
    Ok(best)
}

/// Operations of a product, two a multiply-add.
fn flops([m, k, n]: &[i64; 3]) -> f64 {
    2.0 * (m * k * n) as f64
}

/// The best rate of one shape of at least three times, more while `seconds` are not spent.
fn product_rate(device: Device, kind: Kind, shape: &[i64; 3], seconds: f64) -> Result<f64> {
    let &[m, k, n] = shape;
    let a = Tensor::f_randn([m, k], (Kind::Float, device))?.f_to_kind(kind)?;
    let b = Tensor::f_randn([n, k], (Kind::Float, device))?
        .f_to_kind(kind)?
        .f_tr()?;
    let out = Tensor::f_empty([m, n], (kind, device))?;
    let _ = a.f_matmul_out(&out, &b)?;
    settle(device);
    let started = Instant::now();
    let (mut best, mut done) = (0.0f64, 0);
    while done < REPETITIONS || started.elapsed().as_secs_f64() < seconds {
        let once = Instant::now();
        let _ = a.f_matmul_out(&out, &b)?;
        settle(device);
        best = best.max(flops(shape) / once.elapsed().as_secs_f64());
        done += 1;
    }
    Ok(best)
}

/// Largest measured rate of copying between two blocks of memory much larger than any cache, in
/// bytes/s, read and written bytes both counted.
///
/// # Errors
/// libtorch.
pub fn copy_bytes(device: Device, seconds: f64) -> Result<f64> {
    let bytes = copied_bytes(device);
    let from = Tensor::f_ones([bytes / 4], (Kind::Float, device))?;
    let mut to = Tensor::f_zeros([bytes / 4], (Kind::Float, device))?;
    let (started, mut best, mut done) = (Instant::now(), 0.0f64, 0);
    while done < REPETITIONS || started.elapsed().as_secs_f64() < seconds {
        let once = Instant::now();
        to.f_copy_(&from)?;
        settle(device);
        best = best.max(2.0 * bytes as f64 / once.elapsed().as_secs_f64());
        done += 1;
    }
    Ok(best)
}

/// Bytes of a copy: far more than caches hold, and on a device enough to hide the time of a launch.
fn copied_bytes(device: Device) -> i64 {
    match device {
        Device::Cuda(_) => 1 << 30,
        _ => 1 << 28,
    }
}

/// Waits until the device has done what it was asked.
fn settle(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiply_add_is_two_operations() {
        assert_eq!(flops(&[2, 3, 5]), 60.0);
    }

    /// The bounds are those of any processor: no rate is 0, and none is a unit off.
    #[test]
    fn something_is_measured_however_little_time_there_is() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let rate = matmul_flops_within(Device::Cpu, kind, 0.0).unwrap();
            assert!((1e7..1e14).contains(&rate), "{kind:?}: {rate}");
        }
        let rate = copy_bytes(Device::Cpu, 0.0).unwrap();
        assert!((1e7..1e13).contains(&rate), "{rate}");
    }
}
