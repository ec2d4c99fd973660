//! `harness doctor`: what a worker sees of libtorch, the device, the plugins and the models.
//!
//! Each part is sent as soon as it is known, and what fails is sent as a problem: nothing here ends
//! the job early, so that one fault does not hide another.

use std::{fs, path::Path};

use harness_contract::{
    exit,
    jobs::{
        DeviceReport, DoctorJob, DoctorPart, Event, MemoryReport, ModelParity, ParityReport,
        PeakReport, PluginsReport, Problem,
    },
    protocol::{FailureKind, LogLevel},
    sources::Checkpoint,
};
use harness_kernels::{peak, simd};
use tch::{Device, Kind, Tensor};

use super::{Sink, plugins};
use crate::{
    device::{self, Driver},
    error::CellError,
    plugin::{CacheMode, ComponentError, LoadOptions, Registry},
};

/// Seconds that each of the measurements of products is given, about.
const SECONDS: f64 = 0.4;
/// Rows and tokens of the pass that is compared.
const ROWS: i64 = 2;
const TOKENS: i64 = 24;
/// Differences of logits up to this share of the largest logit are rounding: sums in another order
/// stay a hundred times below it, and products of shortened numbers (TF32) reach it.
const TOLERANCE: f64 = 1e-3;

/// One result for each [`DoctorPart`].
pub fn run(job: &DoctorJob, sink: Sink<'_>) -> u8 {
    tch::set_num_threads(i32::try_from(job.threads).unwrap_or(1).max(1));
    let mut doctor = Doctor { job, sink };
    doctor.send(DoctorPart::Worker {
        libtorch: libtorch_folder(),
        instruction_set: simd::Level::best().name().to_owned(),
    });
    doctor.begin("asking the driver");
    doctor.driver();
    doctor.begin("opening the device");
    let device = doctor.device();
    doctor.begin("asking for the device's memory");
    doctor.memory();
    doctor.begin("opening plugins");
    let registry = doctor.plugins();
    if let Some(device) = device {
        doctor.begin("measuring the peak");
        doctor.peak(device);
        doctor.begin("comparing models with the CPU");
        doctor.parity(device, registry.as_ref());
    }
    exit::OK
}

struct Doctor<'a, 'b> {
    job: &'a DoctorJob,
    sink: Sink<'b>,
}

impl Doctor<'_, '_> {
    fn send(&mut self, part: DoctorPart) {
        (self.sink)(match serde_json::to_value(&part) {
            Ok(value) => Event::Result { value },
            Err(error) => Event::Log {
                level: LogLevel::Warn,
                message: format!("a part of the report has no JSON form: {error}"),
            },
        });
    }

    /// Says what comes next, so that the host knows what a worker that dies was doing.
    fn begin(&mut self, text: &str) {
        (self.sink)(Event::Progress {
            done: 0,
            total: 0,
            text: text.to_owned(),
            seconds_left: None,
        });
    }

    fn problem(&mut self, exit_code: u8, what: String, cure: &str) {
        let cure = cure.to_owned();
        self.send(DoctorPart::Problem(Problem {
            what,
            cure,
            exit_code,
        }));
    }

    /// What the driver says; without one, why. The CPU needs none.
    fn driver(&mut self) {
        let Some(index) = device::cuda_index(&self.job.device) else {
            return;
        };
        let driver = match Driver::open() {
            Ok(driver) => driver,
            Err(reason) => {
                let (cuda, reason) = (None, Some(reason));
                return self.send(DoctorPart::Driver { cuda, reason });
            }
        };
        let (cuda, reason) = known(driver.cuda());
        self.send(DoctorPart::Driver {
            cuda: cuda.map(|version| version.to_string()),
            reason,
        });
        self.send(DoctorPart::Device(described(
            &self.job.device,
            &driver,
            index,
        )));
    }

    /// The device, where libtorch can use it: it is there, and holds a tensor.
    fn device(&mut self) -> Option<Device> {
        let name = &self.job.device;
        let (what, cure) = match device::find(name) {
            Ok(device) => match Tensor::f_zeros([1], (Kind::Float, device)) {
                Ok(_) => return Some(device),
                Err(error) => (
                    format!("device {name} holds no tensor: {error}"),
                    "look at it with nvidia-smi, or use --device cpu".to_owned(),
                ),
            },
            Err(unusable) => (unusable.what, unusable.cure),
        };
        let exit_code = exit::DEVICE;
        self.send(DoctorPart::Unusable(Problem {
            what,
            cure,
            exit_code,
        }));
        None
    }

    /// The memory of a CUDA device. It is asked for after libtorch has opened the device, so that
    /// what libtorch itself takes does not count as free.
    fn memory(&mut self) {
        let Some(index) = device::cuda_index(&self.job.device) else {
            return;
        };
        let (memory, reason) = known(Driver::open().and_then(|driver| driver.memory(index)));
        self.send(DoctorPart::Memory(MemoryReport {
            total_bytes: memory.map(|memory| memory.total),
            free_bytes: memory.map(|memory| memory.free),
            reason,
        }));
    }

    fn plugins(&mut self) -> Option<Registry> {
        let registry = match Registry::open(&self.job.plugins) {
            Ok(registry) => registry,
            Err(error) => {
                let what = format!("the folders of plugins cannot be searched: {error}");
                self.problem(exit::PLUGIN_REFUSED, what, "name them with --plugins");
                return None;
            }
        };
        self.send(DoctorPart::Plugins(PluginsReport {
            loaded: Some(plugins::loaded(&registry, false)),
            refused: plugins::refused(&registry),
            reason: None,
        }));
        Some(registry)
    }

    fn peak(&mut self, device: Device) {
        let giga = |rate: Result<f64, _>| known(rate.map(|rate: f64| rate / 1e9));
        let product = |kind| peak::matmul_flops_within(device, kind, SECONDS);
        let (f32_gflops, no_f32) = giga(product(Kind::Float));
        let (bf16_gflops, no_bf16) = giga(product(Kind::BFloat16));
        let (copy_gb_per_s, no_copy) = giga(peak::copy_bytes(device, 0.0));
        let reason = no_f32.or(no_bf16).or(no_copy);
        if let Some(reason) = &reason {
            let what = format!(
                "{}: its speed cannot be measured: {reason}",
                self.job.device
            );
            let cure = "look whether other processes have taken its memory";
            self.problem(exit::DEVICE, what, cure);
        }
        self.send(DoctorPart::Peak(PeakReport {
            f32_gflops,
            bf16_gflops,
            copy_gb_per_s,
            reason,
        }));
    }

    fn parity(&mut self, device: Device, registry: Option<&Registry>) {
        let Some(registry) = registry else {
            return;
        };
        // Models this small are served best by one thread.
        tch::set_num_threads(1);
        let mut has_failed = false;
        let mut models = Vec::new();
        for (name, dir) in &self.job.models {
            // A CUDA device that has failed once fails at everything that it is asked next.
            let compared = match has_failed && device.is_cuda() {
                true => Err(CellError::Device("the device has failed before".to_owned())),
                false => compare(registry, dir, device),
            };
            match &compared {
                Err(error) if !has_failed && !is_without_adapter(error) => {
                    has_failed = true;
                    self.model_failed(name, error, device);
                }
                Ok((difference, largest)) if !is_rounding(*difference, *largest) => {
                    self.model_differs(name, *difference);
                }
                _ => {}
            }
            models.push(parity_of(name, compared));
        }
        self.send(DoctorPart::Parity(ParityReport {
            reason: (models.is_empty()).then(|| "there are no embedded models".to_owned()),
            models: (!models.is_empty()).then_some(models),
            tolerance: Some(TOLERANCE),
        }));
    }

    /// On the CPU the model or its plugin is at fault, on a device the device, unless the files
    /// are.
    fn model_failed(&mut self, name: &str, error: &CellError, device: Device) {
        let kind = error.failure(None).kind;
        let (exit_code, cure) = match kind {
            FailureKind::BadInput => (
                exit::BAD_INPUT,
                "its files are damaged: fetch them again (`harness inspect` looks at them)",
            ),
            _ if device.is_cuda() => (
                exit::DEVICE,
                "see whether it runs with --device cpu, and whether nvidia-smi finds the device well",
            ),
            FailureKind::Plugin => (
                exit::PLUGIN_REFUSED,
                "`harness plugins check` looks at the plugin that reads it",
            ),
            kind => (
                kind.exit_code(),
                "build the product again: `cargo xtask build`",
            ),
        };
        let what = format!(
            "the embedded model {name} does not run on {}: {error}",
            self.job.device
        );
        self.problem(exit_code, what, cure);
    }

    fn model_differs(&mut self, name: &str, difference: f64) {
        let what = format!(
            "the embedded model {name} computes other values on {} than on the CPU: logits differ \
             by up to {difference:.1e}",
            self.job.device
        );
        let cure = "do not trust results of this device; look whether its driver and its torch \
            belong together";
        self.problem(exit::DEVICE, what, cure);
    }
}

/// Whether a difference of logits is rounding; NaN is none.
fn is_rounding(difference: f64, largest: f64) -> bool {
    difference <= TOLERANCE * largest
}

/// The value, or the reason why there is none.
fn known<T, E: ToString>(result: Result<T, E>) -> (Option<T>, Option<String>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error.to_string())),
    }
}

/// The folder that this process has loaded libtorch from.
fn libtorch_folder() -> Option<String> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().find_map(|line| {
        let path = &line[line.find('/')?..];
        path.ends_with("/libtorch_cpu.so").then_some(path)
    })?;
    Some(Path::new(path).parent()?.display().to_string())
}

/// A CUDA device as the driver describes it.
fn described(asked: &str, driver: &Driver, index: u32) -> DeviceReport {
    let (count, no_count) = known(driver.count());
    let (name, no_name) = known(driver.name(index));
    let (compute_capability, no_capability) = known(driver.compute_capability(index));
    DeviceReport {
        asked: asked.to_owned(),
        name,
        compute_capability,
        count,
        reason: no_count.or(no_name).or(no_capability),
        ..DeviceReport::default()
    }
}

/// Whether no plugin reads the model, which is no fault of the device's.
fn is_without_adapter(error: &CellError) -> bool {
    matches!(
        error,
        CellError::Component(ComponentError::NoAdapter { .. } | ComponentError::Unknown { .. })
    )
}

/// Largest difference and largest logit of a model's passes on a device and on the CPU.
fn compare(registry: &Registry, dir: &Path, device: Device) -> Result<(f64, f64), CellError> {
    let _no_grad = tch::no_grad_guard();
    let on_cpu = logits(registry, dir, Device::Cpu)?;
    let on_device = logits(registry, dir, device)?;
    let largest = |values: Tensor| values.f_abs()?.f_max()?.f_double_value(&[]);
    let difference = largest(on_cpu.f_sub(&on_device)?)?;
    Ok((difference, largest(on_cpu)?))
}

fn parity_of(name: &str, compared: Result<(f64, f64), CellError>) -> ModelParity {
    let (values, reason) = known(compared);
    ModelParity {
        model: name.to_owned(),
        max_abs_difference: values.map(|(difference, _)| difference),
        max_abs_logit: values.map(|(_, largest)| largest),
        agrees: values.map(|(difference, largest)| is_rounding(difference, largest)),
        reason,
    }
}

/// Logits `[rows · tokens, vocab] f32` of a fixed batch, brought to the CPU.
fn logits(registry: &Registry, dir: &Path, device: Device) -> Result<Tensor, CellError> {
    let checkpoint =
        Checkpoint::read("model", dir).map_err(|error| CellError::BadInput(error.to_string()))?;
    let mut model = registry.model_for_type(&checkpoint.model_type)?;
    let options = LoadOptions {
        device,
        kind: Kind::Float,
        allow_nan: false,
    };
    let info = model.load(dir, options)?;
    // Every token another one, all over the vocabulary.
    let tokens = Tensor::f_arange(ROWS * TOKENS, (Kind::Int64, Device::Cpu))?
        .f_mul_scalar(7919)?
        .f_remainder(info.vocab_size as i64)?
        .f_view([ROWS, TOKENS])?
        .f_to_device(device)?;
    let mask = Tensor::f_ones([ROWS, TOKENS], (Kind::Int64, Device::Cpu))?;
    let mut pass = model.begin(&mask, CacheMode::OFF)?;
    let mut resid = pass.embed(&tokens, 0)?;
    pass.blocks(0, info.n_layers, &mut resid)?;
    let rows = resid.f_reshape([ROWS * TOKENS, info.d_model as i64])?;
    Ok(pass.unembed(&rows)?.f_to_device(Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_a_small_share_of_the_largest_logit_and_no_nan() {
        assert!(is_rounding(0.0, 10.0) && is_rounding(1e-3, 10.0));
        assert!(!is_rounding(1.0, 10.0) && !is_rounding(f64::NAN, 10.0));
        assert!(!is_rounding(0.1, f64::NAN));
    }

    #[test]
    fn the_loaded_libtorch_is_found() {
        let _ = Tensor::zeros([1], (Kind::Float, Device::Cpu));
        let folder = libtorch_folder().unwrap();
        assert!(Path::new(&folder).join("libtorch_cpu.so").is_file());
    }

    /// Without plugins, with a device that no machine has and a model that is none: every part is
    /// sent, and the device is the only problem.
    #[test]
    fn one_fault_hides_no_other_part() {
        let job = DoctorJob {
            plugins: harness_contract::plugin::PluginChoice::default(),
            device: "cuda:9999".to_owned(),
            threads: 1,
            models: [("none".to_owned(), "no-such-folder".into())].into(),
        };
        let mut parts = Vec::new();
        let code = run(&job, &mut |event| {
            if let Event::Result { value } = event {
                parts.push(serde_json::from_value::<DoctorPart>(value).unwrap());
            }
        });
        assert_eq!(code, exit::OK);
        let unusable = parts.iter().find_map(|part| match part {
            DoctorPart::Unusable(problem) => Some(problem),
            _ => None,
        });
        assert_eq!(unusable.unwrap().exit_code, exit::DEVICE);
        assert!(unusable.unwrap().what.contains("device cuda:9999"));
        assert!(matches!(parts[0], DoctorPart::Worker { .. }));
        let is_sent = |wanted: fn(&DoctorPart) -> bool| parts.iter().any(wanted);
        assert!(is_sent(|part| matches!(part, DoctorPart::Driver { .. })));
        assert!(is_sent(|part| matches!(part, DoctorPart::Memory(_))));
        assert!(is_sent(|part| matches!(part, DoctorPart::Plugins(_))));
        assert!(!is_sent(|part| matches!(part, DoctorPart::Peak(_))));
    }
}
