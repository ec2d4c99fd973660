//! Plugins as the host sees them: loaded libraries and typed handles over torch tensors.
//!
//! `loader` is the only place that opens libraries. [`Registry`] finds components by name; the
//! handles ([`Model`], [`Sae`], ...) allocate outputs, check what comes back, and turn every
//! failure into a [`PluginFailure`] that names plugin, component and method.

mod call_marker;
mod failure;
mod judge;
mod loader;
mod metric;
mod model;
mod registry;

mod remask;
mod sae;
mod sound;
mod steer;
mod tensors;

pub use call_marker::mark_calls_in;
pub use failure::PluginFailure;
pub use harness_abi::{CacheMode, ErrorCode, JudgeTask, RemaskNeeds, SteerNeeds};
pub use judge::{Answer, BatchProgress, Judge, JudgeIdentity, Prompt, Question};
pub use metric::{Metric, MetricSpec, MetricValue};
pub use model::{Attention, LoadOptions, Model, ModelInfo, Objective, Pass};

pub(crate) use loader::causes;
pub use registry::{Component, ComponentError, LoadedPlugin, Registry, TORCH_VERSION};
pub use remask::{FeatureTensors, Remasker, StepTensors};
pub use sae::{Encoded, Sae, SaeArchitecture, SaeInfo, SaeTrainer};
pub use sound::Checks;
pub use steer::{SteerTensors, SteeringPolicy};

/// Kinds of components and their names.
pub use harness_abi::ComponentKind;
