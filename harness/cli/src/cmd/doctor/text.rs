//! The report for people: a line for each section, with a mark.

use std::collections::BTreeSet;

use harness_contract::jobs::{
    DeviceReport, DoctorReport, DriverReport, LibtorchReport, MemoryReport, ParityReport,
    PeakReport, PluginsReport,
};

use crate::{cmd::bench::rate, output};

/// What a section's mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Good,
    Bad,
    /// It is not there, and need not be.
    Absent,
}

impl Mark {
    fn of(is_good: bool) -> Mark {
        match is_good {
            true => Mark::Good,
            false => Mark::Bad,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Mark::Good => "✓",
            Mark::Bad => "✗",
            Mark::Absent => "–",
        }
    }
}

/// The report as a table.
pub fn of(report: &DoctorReport) -> String {
    let is_cuda = report.device.asked != "cpu";
    let mut given = ReasonsGiven::default();
    let mut rows = vec![
        row("libtorch", libtorch(&report.libtorch, &mut given)),
        row("driver", driver(&report.driver, is_cuda, &mut given)),
        row("device", device(&report.device, &mut given)),
        row("memory", memory(&report.memory, &mut given)),
        row("plugins", plugins(&report.plugins, &mut given)),
        row("peak", peak(&report.peak, &mut given)),
        row("parity", parity(&report.parity, &mut given)),
    ];
    rows.extend(report.fits.iter().map(|fit| {
        let (mark, verdict) = match fit.fits {
            Some(true) => (Mark::Good, "fits"),
            Some(false) => (Mark::Absent, "does not fit"),
            None => (Mark::Absent, "unknown"),
        };
        let text = format!("{verdict}: {}", fit.arithmetic);
        row(&fit.model, (mark, text))
    }));
    output::columns(&rows)
}

fn row(name: &str, (mark, text): (Mark, String)) -> Vec<String> {
    let name = format!("{} {}", mark.sign(), output::sanitize(name));
    vec![name, output::sanitize(&text.replace('\n', " "))]
}

/// The reasons that were given already: one fault is told once, however much it hides.
#[derive(Default)]
struct ReasonsGiven(BTreeSet<String>);

impl ReasonsGiven {
    /// The words with the reason why something is missing.
    fn with_reason(&mut self, mut words: String, reason: Option<&String>) -> String {
        let Some(reason) = reason else { return words };
        let is_new = self.0.insert(reason.clone());
        if !words.is_empty() {
            words.push_str("; ");
        }
        words.push_str(if is_new { reason } else { "not known" });
        words
    }
}

fn libtorch(report: &LibtorchReport, given: &mut ReasonsGiven) -> (Mark, String) {
    let mut words = Vec::new();
    words.extend(report.version.clone());
    words.extend(report.folder.as_ref().map(|folder| format!("in {folder}")));
    if report.folder.is_some() {
        words.push(format!("({})", report.origin));
    }
    words.extend(
        report
            .has_cuda
            .map(|has_cuda| match (has_cuda, &report.cuda) {
                (true, Some(cuda)) => format!("with CUDA {cuda}"),
                (true, None) => "with CUDA".to_owned(),
                (false, _) => "without CUDA".to_owned(),
            }),
    );
    let is_needed = |version: &String| version.split('+').next() == Some(report.needed.as_str());
    let is_good = report.reason.is_none() && report.version.as_ref().is_some_and(is_needed);
    let text = given.with_reason(words.join(" "), report.reason.as_ref());
    (Mark::of(is_good), text)
}

fn driver(report: &DriverReport, is_needed: bool, given: &mut ReasonsGiven) -> (Mark, String) {
    let mut words = Vec::new();
    words.extend(report.version.as_ref().map(|v| format!("NVIDIA {v}")));
    words.extend(report.cuda.as_ref().map(|v| format!("up to CUDA {v}")));
    if !report.gpus.is_empty() {
        words.push(format!("for {}", report.gpus.join(", ")));
    }
    let is_known = report.version.is_some() || report.cuda.is_some();
    let mark = match (is_needed, &report.cuda) {
        (true, cuda) => Mark::of(cuda.is_some()),
        (false, _) if is_known => Mark::Good,
        (false, _) => Mark::Absent,
    };
    (
        mark,
        given.with_reason(words.join(" "), report.reason.as_ref()),
    )
}

fn device(report: &DeviceReport, given: &mut ReasonsGiven) -> (Mark, String) {
    // The reason why a device that nothing is known of cannot be used names it.
    let is_named_by_reason = report.name.is_none() && report.reason.is_some();
    let mut words = Vec::new();
    if !is_named_by_reason {
        words.push(report.asked.clone());
    }
    words.extend(report.name.clone());
    let capability = report.compute_capability.as_ref();
    words.extend(capability.map(|c| format!("compute capability {c}")));
    if report.asked != "cpu" {
        words.extend(report.count.map(|n| format!("one of {n}")));
    }
    words.extend(report.cores.map(|n| format!("{n} cores")));
    let set = report.instruction_set.as_ref();
    words.extend(set.map(|set| format!("kernels in {set}")));
    let text = given.with_reason(words.join(", "), report.reason.as_ref());
    (Mark::of(report.reason.is_none()), text)
}

fn memory(report: &MemoryReport, given: &mut ReasonsGiven) -> (Mark, String) {
    let words = match (report.free_bytes, report.total_bytes) {
        (Some(free), Some(total)) => {
            format!("{} free of {}", output::bytes(free), output::bytes(total))
        }
        _ => String::new(),
    };
    let mark = Mark::of(report.reason.is_none());
    (mark, given.with_reason(words, report.reason.as_ref()))
}

fn plugins(report: &PluginsReport, given: &mut ReasonsGiven) -> (Mark, String) {
    let n_refused = report.refused.len();
    let n_loaded = report.loaded.as_ref().map_or(0, Vec::len);
    let mut words = Vec::new();
    if report.loaded.is_some() {
        words.push(format!("{n_loaded} load"));
    }
    if n_refused > 0 || report.loaded.is_some() {
        words.push(format!("{n_refused} refused"));
    }
    let is_good = report.reason.is_none() && n_refused == 0 && n_loaded > 0;
    let text = given.with_reason(words.join(", "), report.reason.as_ref());
    (Mark::of(is_good), text)
}

fn peak(report: &PeakReport, given: &mut ReasonsGiven) -> (Mark, String) {
    let mut words = Vec::new();
    let products = |gflops: Option<f64>, dtype| {
        gflops.map(|gflops| format!("products {} in {dtype}", rate(gflops * 1e9)))
    };
    words.extend(products(report.f32_gflops, "f32"));
    words.extend(products(report.bf16_gflops, "bf16"));
    let copies = report.copy_gb_per_s;
    words.extend(copies.map(|rate| format!("copies {rate:.1} GB/s")));
    let text = given.with_reason(words.join(", "), report.reason.as_ref());
    (Mark::of(report.reason.is_none()), text)
}

fn parity(report: &ParityReport, given: &mut ReasonsGiven) -> (Mark, String) {
    let models = report.models.as_deref().unwrap_or_default();
    let compared = models.iter().filter(|model| model.agrees.is_some());
    let largest = models.iter().filter_map(|model| model.max_abs_difference);
    let others: Vec<String> = (models.iter())
        .filter(|model| model.agrees != Some(true))
        .map(|model| match &model.reason {
            Some(reason) => format!("{}: {reason}", model.model),
            None => format!("{} differs", model.model),
        })
        .collect();
    let mut words = String::new();
    if !models.is_empty() {
        words = format!(
            "{} of {} models compared with the CPU, largest difference of a logit {:.1e}",
            compared.count(),
            models.len(),
            largest.fold(0.0, f64::max)
        );
    }
    if !others.is_empty() {
        words.push_str(&format!("; {}", others.join("; ")));
    }
    let mark = match (models.is_empty(), report.tolerance) {
        (true, Some(_)) => Mark::Absent,
        (true, None) => Mark::Bad,
        (false, _) => Mark::of(others.is_empty()),
    };
    (mark, given.with_reason(words, report.reason.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_contract::jobs::ModelParity;

    #[test]
    fn sections_without_values_are_marked_and_a_reason_is_given_once() {
        let reason = || Some("it died".to_owned());
        let report = DoctorReport {
            device: DeviceReport {
                asked: "cuda:0".to_owned(),
                name: Some("a GPU".to_owned()),
                reason: reason(),
                ..DeviceReport::default()
            },
            peak: PeakReport {
                f32_gflops: Some(790_123.4),
                reason: reason(),
                ..PeakReport::default()
            },
            ..DoctorReport::default()
        };
        let text = of(&report);
        assert!(
            text.contains("✗ device    cuda:0, a GPU; it died"),
            "{text}"
        );
        let peak = "✗ peak      products 790 TFLOP/s in f32; not known";
        assert!(text.contains(peak), "{text}");
    }

    #[test]
    fn a_model_that_differs_is_named() {
        let model = |model: &str, agrees| ModelParity {
            model: model.to_owned(),
            max_abs_difference: Some(0.5),
            max_abs_logit: Some(10.0),
            agrees: Some(agrees),
            reason: None,
        };
        let of = |models| {
            let report = ParityReport {
                models: Some(models),
                tolerance: Some(1e-3),
                reason: None,
            };
            parity(&report, &mut ReasonsGiven::default())
        };
        assert_eq!(of(vec![model("dream", true)]).0, Mark::Good);
        let (mark, text) = of(vec![model("dream", true), model("llada", false)]);
        assert_eq!(mark, Mark::Bad);
        assert!(text.ends_with("logit 5.0e-1; llada differs"), "{text}");
    }
}
