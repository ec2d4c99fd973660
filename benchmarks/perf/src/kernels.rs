//! Times each kernel and says how near it is to what this machine could do.
//!
//! ```text
//! cargo run --release -p harness-perf -- kernels [NAME …]
//! ```
//! The floor of a case is the longer of two times: its operations at the measured peak of libtorch's products of that
//! kind, and the bytes it has to touch once at the measured rate of a copy. A fraction of 1 would be the floor.

mod cases;

use std::{io::Write, time::Instant};

use anyhow::Result;
use harness_kernels::peak;
use tch::{Device, Kind};

/// Seconds that a case is repeated for, and repetitions at least; the best counts.
const SECONDS: f64 = 0.4;
const REPETITIONS: usize = 3;

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

/// Prints a table for one thread and for all.
pub fn run(arguments: &[String]) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    let mut out = std::io::stdout().lock();
    let all = std::thread::available_parallelism().map_or(1, usize::from) as i32;
    for threads in [1, all] {
        tch::set_num_threads(threads);
        let peaks = Peaks {
            f32: peak::matmul_flops(Device::Cpu, Kind::Float, 2.0)?,
            bf16: peak::matmul_flops(Device::Cpu, Kind::BFloat16, 2.0)?,
            bytes: peak::copy_bytes(Device::Cpu, 1.0)?,
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
        for make in cases::ALL {
            for mut case in make()? {
                if arguments.is_empty() || arguments.iter().any(|a| case.name.contains(a.as_str()))
                {
                    print(&mut out, &mut case, &peaks)?;
                }
            }
        }
        writeln!(out)?;
    }
    Ok(())
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

/// Shortest of several runs, after one that does not count.
fn best(run: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    run()?;
    let (started, mut best, mut done) = (Instant::now(), f64::INFINITY, 0);
    while done < REPETITIONS || started.elapsed().as_secs_f64() < SECONDS {
        let once = Instant::now();
        run()?;
        best = best.min(once.elapsed().as_secs_f64());
        done += 1;
    }
    Ok(best)
}
