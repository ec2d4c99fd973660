//! Options of a dry run, and how fast the cells it predicts are taken to run.

use std::thread;

use clap::Args;
use harness_contract::stages::Dtype;
use harness_store::{RunManifest, Store};

use super::describe;

/// Latents of the paper's SAEs.
const D_SAE: u32 = 16_384;
/// Share of a vendor's peak that passes over batches of text reach, about.
const UTILISATION: f64 = 0.4;
/// Peak of a core of a CPU with AVX2 in f32, about.
const CORE_FLOPS: f64 = 5e10;
/// Peaks of matrix products by name as vendors print them, without sparsity: in bf16, and in f32.
const DEVICES: [(&str, f64, f64); 4] = [
    ("h100", 989e12, 67e12),
    ("h200", 989e12, 67e12),
    ("a100", 312e12, 19.5e12),
    ("l40s", 362e12, 91.6e12),
];
/// The peak that an earlier run has measured.
const MEASURED: &str = "measured";

/// Options of a dry run.
#[derive(Args, Debug)]
pub struct ForecastArgs {
    /// Peak of a device in FLOP/s for device hours, such as 989T, or h100, h200, a100, l40s, or
    /// measured (by an earlier run in --out) [default: what an earlier run in --out has reached;
    /// else h100 on a GPU, 50G a core on the CPU]
    #[arg(long, value_name = "FLOPS", value_parser = peak, requires = "dry_run")]
    peak_flops: Option<Peak>,
    /// Share of the peak that is reached [default: 0.4]
    #[arg(long, value_name = "SHARE", value_parser = share, requires = "dry_run")]
    utilisation: Option<f64>,
    /// Latents of SAEs of a given model whose folder is not given; 16384 as the paper's
    #[arg(long, value_name = "N", default_value_t = D_SAE, value_parser = clap::value_parser!(u32).range(1..), requires = "dry_run")]
    pub d_sae: u32,
}

/// A peak as it was asked for.
#[derive(Clone, Debug, PartialEq)]
enum Peak {
    Flops(f64),
    Device(&'static str, f64, f64),
    Measured,
}

fn peak(text: &str) -> Result<Peak, String> {
    let lower = text.to_ascii_lowercase();
    if lower == MEASURED {
        return Ok(Peak::Measured);
    }
    if let Some((name, bf16, f32)) = DEVICES.iter().find(|(name, ..)| *name == lower) {
        return Ok(Peak::Device(name, *bf16, *f32));
    }
    let (number, unit) = match lower.chars().last() {
        Some('g') => (&lower[..lower.len() - 1], 1e9),
        Some('t') => (&lower[..lower.len() - 1], 1e12),
        Some('p') => (&lower[..lower.len() - 1], 1e15),
        _ => (lower.as_str(), 1.0),
    };
    let flops = number.parse::<f64>().ok().map(|number| number * unit);
    let flops = flops.filter(|flops| flops.is_finite() && *flops > 0.0);
    flops.map(Peak::Flops).ok_or_else(|| {
        let names = DEVICES.map(|(name, ..)| name).join(", ");
        format!("must be FLOP/s such as 989T, {MEASURED}, or one of {names}")
    })
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok();
    share
        .filter(|share| *share > 0.0 && *share <= 1.0)
        .ok_or_else(|| "must be a share above 0 and at most 1".to_owned())
}

/// How fast cells run.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    /// Floating-point operations a second.
    pub flops: f64,
    /// Where that is from.
    pub from: String,
}

impl ForecastArgs {
    /// The speed of cells in `dtype` on `device`, whose earlier results may be in `store`.
    pub fn speed(&self, device: &str, dtype: Dtype, store: Option<&Store>) -> Speed {
        let earlier = store.and_then(Store::read_manifest);
        let earlier = earlier.filter(|run| is_alike(run, device, dtype));
        let utilisation = self.utilisation.unwrap_or(UTILISATION);
        let at_peak = |peak: f64, what: &str| Speed {
            flops: peak * utilisation,
            from: format!("{utilisation} of {} ({what})", describe::rate(peak)),
        };
        let usual = || match is_cpu(device) {
            true => {
                let cores = thread::available_parallelism().map_or(1, usize::from);
                let what = format!("{cores} cores, assumed; --peak-flops says otherwise");
                at_peak(CORE_FLOPS * cores as f64, &what)
            }
            false => device_peak("h100", dtype, |peak, what| {
                at_peak(
                    peak,
                    &format!("{what}, assumed; --peak-flops says otherwise"),
                )
            }),
        };
        match &self.peak_flops {
            Some(Peak::Flops(peak)) => at_peak(*peak, "as given"),
            Some(Peak::Device(name, ..)) => device_peak(name, dtype, at_peak),
            Some(Peak::Measured) => match earlier.as_ref().and_then(|run| run.grid?.peak_flops) {
                Some(peak) => at_peak(peak, "measured by the last run"),
                None => Speed {
                    from: format!("no peak was measured there: {}", usual().from),
                    ..usual()
                },
            },
            None => match earlier.as_ref().and_then(reached) {
                Some(flops) if self.utilisation.is_none() => Speed {
                    flops,
                    from: format!("{}, as the last run has reached", describe::rate(flops)),
                },
                _ => usual(),
            },
        }
    }
}

fn is_cpu(device: &str) -> bool {
    device == "cpu"
}

/// Whether a run computed as this one would.
fn is_alike(run: &RunManifest, device: &str, dtype: Dtype) -> bool {
    run.dtype == dtype.name() && run.device.split(',').all(|d| is_cpu(d) == is_cpu(device))
}

/// Operations a second of a worker in the stages of a run that compute.
fn reached(run: &RunManifest) -> Option<f64> {
    let computing = || run.stages.values().filter(|stage| stage.flops > 0.0);
    let seconds: f64 = computing().map(|stage| stage.seconds).sum();
    let flops: f64 = computing().map(|stage| stage.flops).sum();
    (seconds > 0.0).then(|| flops / seconds)
}

fn device_peak(name: &str, dtype: Dtype, speed: impl Fn(f64, &str) -> Speed) -> Speed {
    let (name, bf16, f32) = DEVICES
        .into_iter()
        .find(|(known, ..)| *known == name)
        .unwrap_or(DEVICES[0]);
    match dtype {
        Dtype::Bf16 => speed(bf16, &format!("{name} in bf16")),
        Dtype::F32 => speed(f32, &format!("{name} in f32")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(peak_flops: Option<Peak>, utilisation: Option<f64>) -> ForecastArgs {
        ForecastArgs {
            peak_flops,
            utilisation,
            d_sae: D_SAE,
        }
    }

    #[test]
    fn peaks_read_as_vendors_print_them() {
        assert_eq!(peak("989T"), Ok(Peak::Flops(989e12)));
        assert_eq!(peak("1.5p"), Ok(Peak::Flops(1.5e15)));
        assert_eq!(peak("H100"), Ok(Peak::Device("h100", 989e12, 67e12)));
        assert!(peak("fast").unwrap_err().contains("a100"));
        assert!(peak("-1T").is_err() && peak("0").is_err());
        assert!(share("0").is_err() && share("1.5").is_err() && share("0.4") == Ok(0.4));
    }

    #[test]
    fn a_stated_peak_counts_before_a_measured_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), harness_store::Access::Write).unwrap();
        let mut run = RunManifest {
            dtype: Dtype::F32.name().to_owned(),
            device: "cpu".to_owned(),
            ..RunManifest::default()
        };
        let stage = run.stages.entry("steer".to_owned()).or_default();
        (stage.flops, stage.seconds) = (6e9, 2.0);
        store.write_manifest(&run).unwrap();
        let speed = |args: ForecastArgs, device| args.speed(device, Dtype::F32, Some(&store));
        assert_eq!(speed(args(None, None), "cpu").flops, 3e9);
        let given = args(Some(Peak::Flops(1e12)), Some(0.5));
        assert_eq!(speed(given, "cpu").flops, 5e11);
        // A run on the CPU says nothing about a GPU.
        let gpu = speed(args(None, None), "cuda:0");
        assert_eq!(gpu.flops, 67e12 * UTILISATION);
        assert!(gpu.from.contains("h100 in f32, assumed"), "{}", gpu.from);
        let none = speed(args(Some(Peak::Measured), None), "cpu");
        assert!(none.from.contains("no peak was measured"), "{}", none.from);
    }
}
