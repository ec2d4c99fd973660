//! Requests to a worker other than cells: one request on its standard input, events as JSON lines
//! on its standard output, and its exit code.
//!
//! ```text
//! harness-worker job < request.json        → event* , exit code of crate::exit
//! ```
//! A job that can stop before its end ([`Job::can_stop`]) does so when a further line, [`STOP`],
//! comes on its standard input.

mod doctor;

pub use doctor::{
    DeviceReport, DoctorJob, DoctorPart, DoctorReport, DriverReport, FitReport, LibtorchReport,
    MemoryReport, ModelParity, ParityReport, PeakReport, PluginsReport, Problem, PythonTorch,
    RefusedReport,
};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    plugin::PluginChoice,
    protocol::{Failure, LogLevel},
    sources::{ModelAnswer, SaeAnswer},
    stages::Dtype,
};

/// What a worker is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case", deny_unknown_fields)]
pub enum Job {
    /// Open plugins and say what they are.
    Plugins(PluginsJob),
    /// Compare with parity fixtures.
    Golden(GoldenJob),
    /// Continue a text.
    Generate(GenerateJob),
    /// Train SAEs.
    Train(Box<TrainJob>),
    /// Conformance tests of plugins: list them, or run one in this process.
    Check(CheckJob),
    /// Say what a device, its libtorch and the plugins can do.
    Doctor(DoctorJob),
    /// Ask plugins what folders are.
    Inspect(InspectJob),
}

impl Job {
    /// Whether it can be asked to stop, keeps what it has done then, and goes on when it is asked
    /// for again.
    #[must_use]
    pub fn can_stop(&self) -> bool {
        matches!(self, Job::Train(_))
    }
}

/// The line that asks a job to stop.
pub const STOP: &str = "stop";

/// Where a job's model runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compute {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Number format of model passes.
    pub dtype: Dtype,
    /// Threads of the tensor library.
    pub threads: u32,
    /// Pinned instruction set and thread count.
    pub reproducible: bool,
}

/// Open plugins and say what they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginsJob {
    /// Which ones.
    pub plugins: PluginChoice,
    /// Where the worker says which one it opens, see [`crate::call_marker`].
    #[serde(serialize_with = "crate::wire::paths")]
    pub call_marker: Option<PathBuf>,
    /// Say of metrics what they compute and need: an instance of each is made.
    pub metrics: bool,
}

/// What a metric computes and needs, in the answer to [`PluginsJob`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricNeeds {
    /// Name of a value.
    pub name: String,
    /// The inputs it is formed from.
    pub requires: Vec<String>,
}

/// Compare with parity fixtures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenJob {
    /// The folder with `index.json`.
    #[serde(serialize_with = "crate::wire::paths")]
    pub dir: PathBuf,
    /// Plugins that are opened.
    pub plugins: PluginChoice,
    /// Only this family.
    pub family: Option<String>,
    /// Where it runs.
    pub compute: Compute,
}

/// Continue a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerateJob {
    /// The checkpoint.
    #[serde(serialize_with = "crate::wire::paths")]
    pub model: PathBuf,
    /// Plugins that are opened.
    pub plugins: PluginChoice,
    /// The text to continue.
    pub prompt: String,
    /// Render the prompt with the checkpoint's chat template, as a user's message.
    pub chat: bool,
    /// Remasker of a masked-diffusion model.
    pub order: Option<String>,
    pub order_config: serde_json::Value,
    /// Denoising steps; as many as tokens when absent.
    pub steps: Option<u32>,
    /// Tokens to generate.
    pub max_new_tokens: u32,
    /// Positions of a block; all at once when absent.
    pub block_length: Option<u32>,
    pub temperature: f64,
    /// Nucleus.
    pub top_p: Option<f64>,
    /// Most probable tokens considered.
    pub top_k: Option<u32>,
    /// Classifier-free guidance.
    pub cfg_scale: f64,
    pub seed: u64,
    /// Say what each step reveals.
    pub show_steps: bool,
    /// Weights may hold NaN and infinity.
    pub allow_nan: bool,
    /// Where it runs.
    pub compute: Compute,
}

/// Train a grid of SAEs from one stream of model passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainJob {
    /// The checkpoint.
    #[serde(serialize_with = "crate::wire::paths")]
    pub model: PathBuf,
    /// Its name in the SAEs' provenance.
    pub model_name: String,
    /// Plugins that are opened.
    pub plugins: PluginChoice,
    /// Text files.
    #[serde(serialize_with = "crate::wire::paths")]
    pub data: Vec<PathBuf>,
    /// Folder of the sets: one folder a policy below it, in the released layout.
    #[serde(serialize_with = "crate::wire::paths")]
    pub out: PathBuf,
    pub architecture: String,
    /// Blocks.
    pub layers: Vec<u32>,
    /// Active budgets, ascending.
    pub k: Vec<u32>,
    /// `mask`, `unmask`, `clean`.
    pub policies: Vec<String>,
    /// Latents.
    pub d_sae: u32,
    /// Activations each SAE is trained on.
    pub tokens: u64,
    /// Tokens of a row.
    pub context_length: u32,
    /// Rows of a model pass.
    pub model_batch: u32,
    /// Activations of an optimiser step.
    pub batch: u32,
    /// Activations buffered and shuffled.
    pub buffer: u64,
    /// Bytes of memory they may take, all policies together; in files under `out` otherwise. Half
    /// of what is free when absent. The result does not depend on it.
    pub buffer_memory: Option<u64>,
    /// Learning rate.
    pub lr: f64,
    /// Linear warm-up, in steps.
    pub warmup_steps: u32,
    /// Fraction of the steps after which the rate falls to 0.
    pub decay_start: f64,
    /// Tokens without activation after which a latent is dead.
    pub dead_after: u64,
    /// Weight of the auxiliary loss.
    pub auxk_alpha: f64,
    /// Number format of the trainer's large products; its parameters are f32.
    pub product_dtype: Dtype,
    /// Field or column of the files that holds the text.
    pub text_field: String,
    /// Begin the text again where it is too short, instead of failing.
    pub allow_short: bool,
    /// Share of the rows of the text that may be unusable; [`crate::stages::MAX_BAD_ROWS`] when
    /// absent.
    #[serde(default)]
    pub max_bad_rows: Option<f64>,
    /// Smallest mask rate.
    pub t_min: f64,
    /// Largest mask rate.
    pub t_max: f64,
    pub seed: u64,
    pub checkpoint_every: u32,
    /// Steps between rows of training.csv.
    pub log_every: u32,
    /// `saelens` or `dictionary_learning`.
    pub format: String,
    /// Number format of the written weights.
    pub save_dtype: Dtype,
    /// Where it runs.
    pub compute: Compute,
}

/// Conformance tests of the plugins in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckJob {
    /// Folders searched for plugins.
    #[serde(serialize_with = "crate::wire::paths")]
    pub plugins: Vec<PathBuf>,
    /// Run this test in this process; list all tests when absent.
    pub test: Option<String>,
    /// A checkpoint for the laws of model adapters.
    #[serde(serialize_with = "crate::wire::paths")]
    pub model_dir: Option<PathBuf>,
    /// An SAE for the laws of architectures.
    #[serde(serialize_with = "crate::wire::paths")]
    pub sae_dir: Option<PathBuf>,
}

/// Ask plugins what folders are: each folder's answer is an [`Event::Result`] with an
/// [`Inspection`], as soon as it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InspectJob {
    /// Plugins that are opened.
    pub plugins: PluginChoice,
    /// Sets of SAEs: they are asked about with all folders below them, down to the folders of SAEs.
    #[serde(serialize_with = "crate::wire::paths")]
    pub sets: Vec<PathBuf>,
    /// Folders of checkpoints.
    #[serde(serialize_with = "crate::wire::paths")]
    pub models: Vec<PathBuf>,
}

/// One answer to an [`InspectJob`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    #[serde(serialize_with = "crate::wire::paths")]
    pub dir: PathBuf,
    pub answer: Answer,
}

/// What plugins say of a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Sae(SaeAnswer),
    Model(ModelAnswer),
}

impl From<SaeAnswer> for Answer {
    fn from(answer: SaeAnswer) -> Answer {
        Answer::Sae(answer)
    }
}

impl From<ModelAnswer> for Answer {
    fn from(answer: ModelAnswer) -> Answer {
        Answer::Model(answer)
    }
}

/// What a job says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A result in the job's own form; see the job.
    Result { value: serde_json::Value },
    /// How far it is.
    Progress {
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
        /// What a unit is, with anything worth showing beside it.
        text: String,
        /// Seconds until its end, as far as they can be known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds_left: Option<f64>,
    },
    /// Something to show on standard error.
    Log {
        /// How important it is.
        level: LogLevel,
        /// One line.
        message: String,
    },
    /// The job ends without result.
    Failed(Failure),
}
