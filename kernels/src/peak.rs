//! What this process can do at best, for fractions of it: matrix products and memory.

use std::time::Instant;

use tch::{Device, Kind, Tensor};

use crate::Result;

/// `[m, k, n]` of the products tried: near-cubic ones, and the shapes of an encoder and a head. The small ones are short
/// enough to be left alone for once on a busy machine. From small to large.
const SHAPES: [[i64; 3]; 6] = [
    [512, 512, 512],
    [512, 1024, 2048],
    [1024, 1024, 1024],
    [512, 1024, 4096],
    [2048, 2048, 2048],
    [512, 2048, 8192],
];
/// Seconds that a further shape may take: where products are so slow, larger ones are no faster.
const LONGEST: f64 = 1.0;
/// Repetitions of each shape at least.
const REPETITIONS: u32 = 3;

/// Largest measured rate of libtorch's matrix products in FLOP/s, on the threads torch has now.
///
/// The best of a few shapes, each at least three times, more while `seconds` are not spent; shapes that would take long are left
/// out. Two operations a multiply-add.
///
/// # Errors
/// libtorch, for example when the device has no memory left.
pub fn matmul_flops(device: Device, kind: Kind, seconds: f64) -> Result<f64> {
    let _no_grad = tch::no_grad_guard();
    let mut best = 0.0f64;
    for [m, k, n] in SHAPES {
        let flops = 2.0 * (m * k * n) as f64;
        if best > 0.0 && f64::from(REPETITIONS + 1) * flops / best > LONGEST {
            continue;
        }
        let a = Tensor::f_randn([m, k], (Kind::Float, device))?.f_to_kind(kind)?;
        let b = Tensor::f_randn([n, k], (Kind::Float, device))?
            .f_to_kind(kind)?
            .f_tr()?;
        let out = Tensor::f_empty([m, n], (kind, device))?;
        let _ = a.f_matmul_out(&out, &b)?;
        settle(device);
        let started = Instant::now();
        let mut done = 0;
        while done < REPETITIONS || started.elapsed().as_secs_f64() < seconds / SHAPES.len() as f64
        {
            let once = Instant::now();
            let _ = a.f_matmul_out(&out, &b)?;
            settle(device);
            best = best.max(flops / once.elapsed().as_secs_f64());
            done += 1;
        }
    }
    Ok(best)
}

/// Largest measured rate of copying between two blocks of memory much larger than any cache, in bytes/s, read and
/// written bytes both counted.
///
/// # Errors
/// libtorch.
pub fn copy_bytes(device: Device, seconds: f64) -> Result<f64> {
    const BYTES: i64 = 1 << 28;
    let from = Tensor::f_ones([BYTES / 4], (Kind::Float, device))?;
    let mut to = Tensor::f_zeros([BYTES / 4], (Kind::Float, device))?;
    let (started, mut best, mut done) = (Instant::now(), 0.0f64, 0);
    while done < REPETITIONS || started.elapsed().as_secs_f64() < seconds {
        let once = Instant::now();
        to.f_copy_(&from)?;
        settle(device);
        best = best.max(2.0 * BYTES as f64 / once.elapsed().as_secs_f64());
        done += 1;
    }
    Ok(best)
}

/// Waits until the device has done what it was asked.
fn settle(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}
