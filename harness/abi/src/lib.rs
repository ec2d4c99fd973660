//! The stable boundary between the host and its plugins: `repr(C)` types and traits, no logic.
//!
//! Plugin authors do not use this crate directly; `harness-sdk` wraps it in safe traits. The host
//! loads a library, checks the layout of [`PluginMod`] and talks to the trait objects below.
//!
//! # Rules that hold for every method
//! * **Ownership**: the host allocates every tensor, outputs included. A [`TensorRef`] or
//!   [`TensorMut`] is valid for the duration of the call only and is never kept.
//! * **Threads**: an instance is used by one thread at a time; it may move between threads.
//! * **Panics**: none may leave a method. The SDK turns them into [`ErrorCode::PANIC`]; the host
//!   then drops the instance.
//! * **Growth**: enumerations are integer newtypes, new methods are appended with a default body,
//!   new module fields are appended after the last prefix field. See `ABI.md`.

#![warn(missing_docs)]
#![expect(
    non_local_definitions,
    reason = "`#[sabi_trait]` expands to impls inside functions"
)]

mod error;
mod info;
mod judge;
mod metric;
mod model;
mod module;
mod remask;
mod sae;
mod steer;
mod tensor;

pub use error::{AbiResult, ErrorCode, PluginError};
pub use info::{ComponentInfo, ComponentKind, PluginInfo};
pub use judge::{
    BatchProgress, BatchState, Judge, Judge_TO, JudgeBox, JudgeIdentity, JudgeReply, JudgeRequest,
    JudgeTask, Message, ReplySink, ReplySink_TO, ReplySinkMut,
};
pub use metric::{Metric, Metric_TO, MetricBox, MetricSpec, MetricValue, NamedTensor};
pub use model::{
    Attention, CacheMode, Forward, Forward_TO, ForwardBox, ForwardRequest, LoadRequest,
    ModelAdapter, ModelAdapter_TO, ModelBox, ModelInfo, Objective,
};
pub use module::{PluginMod, PluginModRef};
pub use remask::{FeatureView, RemaskNeeds, Remasker, Remasker_TO, RemaskerBox, StepView};
pub use sae::{
    Sae, Sae_TO, SaeArchitecture, SaeArchitecture_TO, SaeArchitectureBox, SaeBox, SaeInfo,
    SaeTrainer, SaeTrainer_TO, SaeTrainerBox,
};
pub use steer::{SteerNeeds, SteerRequest, SteeringPolicy, SteeringPolicy_TO, SteeringPolicyBox};
pub use tensor::{DType, Device, TensorMut, TensorRef};

/// Major and minor version of the interface, on its own count (not the harness's version).
///
/// A host takes plugins of its own major version: older minors always, newer minors when every
/// change was an appended one.
pub const ABI_VERSION: (u16, u16) = (1, 3);
