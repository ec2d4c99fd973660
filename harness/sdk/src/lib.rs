//! What a plugin author writes against: safe traits, tensor views, and [`export_plugin!`].
//!
//! Implement one of the six traits, name it in [`export_plugin!`], describe the library in
//! `plugin.toml`, and the host loads it without being rebuilt. Every method runs behind a bridge
//! that checks shapes and element types, turns errors and panics into messages, and switches
//! gradients off and back.
//!
//! ```no_run,standalone_crate
//! use harness_sdk::{Inputs, Metric, MetricSpec, MetricValue, Result, Value};
//!
//! struct Mean { sum: f64, n: u64 }
//!
//! impl Metric for Mean {
//!     fn new(_name: &str, _config: &Value) -> Result<Self> { Ok(Self { sum: 0.0, n: 0 }) }
//!     fn spec(&self) -> Vec<MetricSpec> { vec![MetricSpec::new("mean").requires(&["ppl_after"])] }
//!     fn update(&mut self, inputs: &Inputs<'_>) -> Result<()> {
//!         // NaN is a missing value.
//!         for x in inputs.f64("ppl_after")?.iter().filter(|x| x.is_finite()) {
//!             self.sum += x;
//!             self.n += 1;
//!         }
//!         Ok(())
//!     }
//!     fn save(&self) -> Result<Value> { Ok(serde_json::json!({"sum": self.sum, "n": self.n})) }
//!     fn merge(&mut self, state: &Value) -> Result<()> {
//!         self.sum += state["sum"].as_f64().unwrap_or(0.0);
//!         self.n += state["n"].as_u64().unwrap_or(0);
//!         Ok(())
//!     }
//!     fn finish(&self) -> Result<Vec<MetricValue>> {
//!         Ok(vec![MetricValue::new("mean", (self.n > 0).then(|| self.sum / self.n as f64), self.n)])
//!     }
//! }
//!
//! harness_sdk::export_plugin! {
//!     id: "mean-perplexity",
//!     components: [ metric "mean" => Mean: "mean perplexity of steered texts" ]
//! }
//! ```

#![warn(missing_docs)]

#[cfg(panic = "abort")]
compile_error!(
    "a plugin must be built with panic = \"unwind\": the bridge turns panics into errors"
);

mod bridge;
mod error;
mod export;
mod judge;
mod metric;
mod model;
mod remask;
mod sae;
mod sae_folder;
mod steer;
mod view;

pub use error::{Error, Result};
pub use harness_abi::{
    ABI_VERSION, Attention, CacheMode, DType, Device, ErrorCode, JudgeTask, Objective, RemaskNeeds,
    SteerNeeds,
};
pub use judge::{BatchProgress, Judge, JudgeIdentity, JudgeReply, JudgeRequest, Message};
pub use metric::{Inputs, Metric, MetricSpec, MetricValue};
pub use model::{Forward, LoadRequest, ModelAdapter, ModelFacts, ModelInfo};
pub use remask::{Features, Remasker, Step};
pub use sae::{Sae, SaeArchitecture, SaeInfo, SaeTrainer};
pub use sae_folder::{MadeFor, SaeFacts, SaeFolder};
pub use serde_json::Value;
pub use steer::{SteerStep, SteeringPolicy};
#[cfg(feature = "tch")]
pub use view::BorrowedTensor;
pub use view::{View, ViewMut};

/// Used by [`export_plugin!`] only; not part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::{bridge::dispatch, export::construct};
    pub use abi_stable::{
        library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModuleResult},
        prefix_type::PrefixTypeTrait,
        std_types::{RStr, RString, RVec},
    };
    pub use harness_abi as abi;

    /// The symbol the host looks up; equals abi_stable's own (see the test in `export.rs`).
    pub const ROOT_SYMBOL: &str = "_1as_0lib_1header_0root_bmodule_bloader";
}
