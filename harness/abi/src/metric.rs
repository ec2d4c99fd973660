use abi_stable::{
    StableAbi, sabi_trait,
    std_types::{RBox, ROption, RSlice, RStr, RString, RVec},
};

use crate::{AbiResult, TensorRef};

/// One value a metric produces.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct MetricSpec {
    /// The column of this value in results.
    pub name: RString,
    /// Unit, empty for a plain number or nats.
    pub unit: RString,
    /// 1 higher is better, -1 lower is better, 0 neither.
    pub direction: i32,
    /// Names of the inputs `update` needs.
    pub requires: RVec<RString>,
}

/// A named input. Values are `[n]`, f64, on the CPU unless the name's definition says otherwise.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct NamedTensor<'a> {
    /// Well-known name, e.g. `score_before`.
    pub name: RStr<'a>,
    /// One value for each sample, in the order of the samples.
    pub tensor: TensorRef<'a>,
}

/// A result. Missing is `RNone`, never a special number.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct MetricValue {
    /// The [`MetricSpec::name`] that this is a value of.
    pub name: RString,
    /// Over all samples so far; missing where they do not define one.
    pub value: ROption<f64>,
    /// Standard error over the sampling unit, where it is defined.
    pub std_err: ROption<f64>,
    /// Number of samples it rests on.
    pub n: u64,
}

/// A streaming metric. Update in pieces equals one update; merge is commutative and associative.
#[sabi_trait]
pub trait Metric: Send {
    /// What it computes and needs.
    fn spec(&self) -> RVec<MetricSpec>;

    /// Takes in a chunk; all inputs have the same leading extent.
    fn update(&mut self, inputs: RSlice<'_, NamedTensor<'_>>) -> AbiResult<()>;

    /// Its state, to be given to `merge` of another instance.
    fn save(&self) -> AbiResult<RVec<u8>>;

    /// Takes in the state of another instance.
    fn merge(&mut self, state: RSlice<'_, u8>) -> AbiResult<()>;

    /// The values so far.
    #[sabi(last_prefix_field)]
    fn finish(&self) -> AbiResult<RVec<MetricValue>>;
}

/// A metric as it crosses the boundary.
pub type MetricBox = Metric_TO<'static, RBox<()>>;
