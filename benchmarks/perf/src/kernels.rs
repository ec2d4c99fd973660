//! Times each kernel and says how near it is to what this machine could do.
//!
//! ```text
//! cargo run --release -p harness-perf -- kernels [GROUP …]
//! ```
//! The floor of a case is the longer of two times: its operations at the measured peak of
//! libtorch's products of that kind, and the bytes it has to touch once at the measured rate of a
//! copy. A fraction of 1 would be the floor; above it is what fits into the caches. Peaks and cases
//! are timed alike: the best of several on the clock; on one thread the thread's own processor time
//! where the system tells it, which other programs disturb less.

mod cases;

use std::{io::Write, time::Instant};

use anyhow::Result;
use tch::{Device, Kind, Tensor};

/// Seconds that a case is repeated for, and repetitions at least; the best counts.
const SECONDS: f64 = 0.4;
const REPETITIONS: usize = 3;

/// Seconds of processor time between two readings of the system's account.
const ACCOUNTED: f64 = 0.1;

/// One thing to time.
struct Case {
    name: &'static str,
    shape: String,
    /// Floating-point operations, 0 where memory alone sets the floor.
    flops: f64,
    /// Kind of the products.
    kind: Kind,
    /// Bytes read and written once.
    bytes: f64,
    run: Box<dyn FnMut() -> Result<()>>,
}

/// Peaks of this process on the threads it has.
struct Peaks {
    f32: f64,
    bf16: f64,
    bytes: f64,
}

/// Prints a table for one thread and for all; groups may be named, see [`cases::ALL`].
pub fn run(arguments: &[String]) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    let mut out = std::io::stdout().lock();
    let all = std::thread::available_parallelism().map_or(1, usize::from) as i32;
    for threads in [1, all] {
        tch::set_num_threads(threads);
        let peaks = Peaks {
            f32: product_peak(Kind::Float)?,
            bf16: product_peak(Kind::BFloat16)?,
            bytes: copy_peak()?,
        };
        writeln!(
            out,
            "{threads} thread{}: products {:.0} GFLOP/s f32, {:.0} bf16; copy {:.1} GB/s\n",
            if threads == 1 { "" } else { "s" },
            peaks.f32 / 1e9,
            peaks.bf16 / 1e9,
            peaks.bytes / 1e9
        )?;
        writeln!(
            out,
            "| kernel | shape | ms | rate | of the floor |\n|---|---|---|---|---|"
        )?;
        for (group, make) in cases::ALL {
            if !arguments.is_empty() && !arguments.iter().any(|a| a == group) {
                continue;
            }
            for mut case in make()? {
                print(&mut out, &mut case, &peaks)?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// FLOP/s of libtorch's products, timed as the cases are.
pub fn product_peak(kind: Kind) -> Result<f64> {
    let mut peak = 0.0f64;
    for [m, k, n] in [[512, 512, 512], [1024, 1024, 1024], [512, 2048, 4096]] {
        let matrix = |rows: i64, columns: i64| {
            Tensor::randn([rows, columns], (Kind::Float, Device::Cpu)).to_kind(kind)
        };
        let (a, b, out) = (matrix(m, k), matrix(n, k).f_tr()?, matrix(m, n));
        let seconds = best(&mut || {
            drop(a.f_matmul_out(&out, &b)?);
            Ok(())
        })?;
        peak = peak.max(2.0 * (m * k * n) as f64 / seconds);
    }
    Ok(peak)
}

/// Bytes/s of a copy between blocks larger than the caches, read and written ones counted.
fn copy_peak() -> Result<f64> {
    let from = Tensor::f_ones([1 << 25], (Kind::Float, Device::Cpu))?;
    let mut to = from.f_zeros_like()?;
    let seconds = best(&mut || Ok(to.f_copy_(&from)?))?;
    Ok(2.0 * 4.0 * (1u64 << 25) as f64 / seconds)
}

fn print(out: &mut impl Write, case: &mut Case, peaks: &Peaks) -> Result<()> {
    let seconds = best(&mut case.run)?;
    let peak = match case.kind {
        Kind::BFloat16 => peaks.bf16,
        _ => peaks.f32,
    };
    let (compute, memory) = (case.flops / peak, case.bytes / peaks.bytes);
    let rate = if compute > memory {
        format!("{:.0} GFLOP/s", case.flops / seconds / 1e9)
    } else {
        format!("{:.1} GB/s", case.bytes / seconds / 1e9)
    };
    writeln!(
        out,
        "| {} | {} | {:.2} | {rate} | {:.2} |",
        case.name,
        case.shape,
        seconds * 1e3,
        compute.max(memory) / seconds
    )?;
    out.flush()?;
    Ok(())
}

/// Seconds of one run: on one thread its processor time, otherwise the clock's, best of several.
pub fn best(run: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    run()?;
    let (mut clock, mut processor) = (f64::INFINITY, f64::INFINITY);
    let started = Instant::now();
    let (mut done, mut since, mut spent) = (0, 0, own_seconds());
    let alone = tch::get_num_threads() == 1 && spent.is_some();
    while done < REPETITIONS
        || started.elapsed().as_secs_f64() < SECONDS
        || alone && processor.is_infinite()
    {
        let once = Instant::now();
        run()?;
        clock = clock.min(once.elapsed().as_secs_f64());
        done += 1;
        // The system's account advances in steps of some milliseconds, so it is read after many of
        // them.
        since += 1;
        let now = own_seconds();
        if let Some(own) = now.zip(spent).map(|(now, then)| now - then)
            && own > ACCOUNTED
        {
            processor = processor.min(own / f64::from(since));
            (since, spent) = (0, now);
        }
    }
    Ok(if alone { processor.min(clock) } else { clock })
}

/// Seconds this thread has run, by Linux' account.
pub fn own_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = stat.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds * 1e-9)
}
