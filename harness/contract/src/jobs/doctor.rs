//! What `harness doctor` asks of a worker, and the report that it makes of the answers and of what
//! the host sees by itself.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plugin::PluginChoice;

/// Look at a device from within a worker: libtorch, driver, memory, plugins, speed, and whether the
/// embedded models compute there what they compute on the CPU. Every answer is a [`DoctorPart`], so
/// that a worker that dies leaves what it has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoctorJob {
    /// Plugins that are opened.
    pub plugins: PluginChoice,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Threads of the tensor library.
    pub threads: u32,
    /// Folders of the models whose passes are compared, by name.
    #[serde(serialize_with = "crate::wire::paths")]
    pub models: BTreeMap<String, PathBuf>,
}

/// One answer to a [`DoctorJob`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum DoctorPart {
    /// The worker runs.
    Worker {
        /// The folder that libtorch was loaded from, where the system says it.
        libtorch: Option<String>,
        /// The instruction set that the kernels' CPU forms have chosen.
        instruction_set: String,
    },
    /// NVIDIA's driver, where a CUDA device was asked for.
    Driver {
        /// The newest CUDA that it supports.
        cuda: Option<String>,
        /// Why that is not known.
        reason: Option<String>,
    },
    /// The CUDA device that was asked for.
    Device(DeviceReport),
    /// The device cannot be used, for this reason.
    Unusable(Problem),
    Memory(MemoryReport),
    Plugins(PluginsReport),
    /// What it does at best.
    Peak(PeakReport),
    /// Its passes against the CPU's.
    Parity(ParityReport),
    Problem(Problem),
}

/// Something that is wrong, and its cure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong, and where.
    pub what: String,
    /// What to do about it.
    #[serde(rename = "do")]
    pub cure: String,
    /// The exit code of commands that meet it; 0 where it does not stop them.
    pub exit_code: u8,
}

/// Everything that `harness doctor` knows. A value that could not be measured is null, and its
/// section says why.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DoctorReport {
    /// The libtorch that workers are started with.
    pub libtorch: LibtorchReport,
    /// NVIDIA's driver.
    pub driver: DriverReport,
    /// The device that was asked for.
    pub device: DeviceReport,
    pub memory: MemoryReport,
    /// Plugins that load, and those that are refused.
    pub plugins: PluginsReport,
    /// What the device does at best.
    pub peak: PeakReport,
    /// The embedded models' passes on the device against the CPU's.
    pub parity: ParityReport,
    /// Which of the paper's models fit into the free memory.
    pub fits: Vec<FitReport>,
    pub problems: Vec<Problem>,
}

/// A libtorch: a folder with its libraries.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LibtorchReport {
    /// Its version with what was built in, such as `2.11.0+cpu`.
    pub version: Option<String>,
    /// The version that this build needs.
    pub needed: String,
    /// The folder of its libraries.
    pub folder: Option<String>,
    /// Who chose it.
    pub origin: String,
    /// Whether it can use CUDA devices.
    pub has_cuda: Option<bool>,
    /// The version of CUDA that it was built for.
    pub cuda: Option<String>,
    /// The torch package of the Python in reach, where there is one.
    pub python: Option<PythonTorch>,
    /// Why something is not known.
    pub reason: Option<String>,
}

/// The torch package of a Python.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PythonTorch {
    /// Its version with what was built in.
    pub version: Option<String>,
    pub folder: String,
    /// Whether it is of the version that this build needs.
    pub is_usable: bool,
}

/// NVIDIA's driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DriverReport {
    pub version: Option<String>,
    /// The newest CUDA that it supports; asked only where a CUDA device is.
    pub cuda: Option<String>,
    /// The GPUs it has found, by name.
    pub gpus: Vec<String>,
    /// Why something is not known.
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// As it was asked for.
    pub asked: String,
    /// What its maker calls it.
    pub name: Option<String>,
    /// Compute capability of a CUDA device, such as `9.0`.
    pub compute_capability: Option<String>,
    /// CUDA devices that this process sees; for the CPU 1.
    pub count: Option<u32>,
    /// Cores that this process may use, for the CPU.
    pub cores: Option<u32>,
    /// The instruction set that the kernels have chosen, for the CPU.
    pub instruction_set: Option<String>,
    /// Why something is not known.
    pub reason: Option<String>,
}

/// Memory of a device, or what of the machine's this process may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryReport {
    pub total_bytes: Option<u64>,
    pub free_bytes: Option<u64>,
    /// Why something is not known.
    pub reason: Option<String>,
}

/// Plugins by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PluginsReport {
    /// Those that load, as `harness plugins list --json` describes them.
    pub loaded: Option<Vec<Value>>,
    /// Those that do not: path, id, reason.
    pub refused: Vec<RefusedReport>,
    /// Why it is not known which load.
    pub reason: Option<String>,
}

/// A plugin that is not loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedReport {
    /// Its manifest.
    pub path: String,
    /// Its identifier, where the manifest could be read.
    pub id: Option<String>,
    pub reason: String,
}

/// What a device does at best.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PeakReport {
    /// Matrix products in f32, in 10⁹ operations a second; a multiply-add is two.
    pub f32_gflops: Option<f64>,
    /// The same in bf16.
    pub bf16_gflops: Option<f64>,
    /// Copying, in 10⁹ bytes a second; bytes read and bytes written both count.
    pub copy_gb_per_s: Option<f64>,
    /// Why something is not known.
    pub reason: Option<String>,
}

/// Passes of models on a device against those on the CPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ParityReport {
    pub models: Option<Vec<ModelParity>>,
    /// The largest difference of logits that counts as rounding, as a share of the largest logit.
    pub tolerance: Option<f64>,
    /// Why something is not known.
    pub reason: Option<String>,
}

/// The logits of one model in f32 on a device against those on the CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelParity {
    pub model: String,
    /// Largest difference of a logit.
    pub max_abs_difference: Option<f64>,
    /// Largest logit on the CPU, by its absolute value.
    pub max_abs_logit: Option<f64>,
    /// Whether the difference is rounding.
    pub agrees: Option<bool>,
    /// Why something is not known.
    pub reason: Option<String>,
}

/// Whether a model of the paper fits into the free memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FitReport {
    pub model: String,
    pub parameters: u64,
    /// Format of its weights and activations.
    pub dtype: String,
    pub weight_bytes: u64,
    /// Bytes of what a pass needs beside them.
    pub activation_bytes: u64,
    /// Both together.
    pub needed_bytes: u64,
    /// Whether that is free; null where it is not known what is.
    pub fits: Option<bool>,
    /// How the numbers come about, in words.
    pub arithmetic: String,
}
