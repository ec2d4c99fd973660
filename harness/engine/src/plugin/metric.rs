use abi_stable::std_types::RSlice;
use harness_abi::{DType, Device, MetricBox, NamedTensor, TensorRef};

use super::{PluginFailure, failure::Origin};

/// One value a metric produces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricSpec {
    /// Name in results.
    pub name: String,
    /// Unit, empty for a plain number or nats.
    pub unit: String,
    /// 1 higher is better, -1 lower is better, 0 neither.
    pub direction: i32,
    /// Names of the inputs it needs.
    pub requires: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MetricValue {
    /// Name as in the specification.
    pub name: String,
    /// The value, `None` where it is not defined.
    pub value: Option<f64>,
    /// Standard error over the sampling unit, where it is defined.
    pub std_err: Option<f64>,
    /// Number of samples it rests on.
    pub n: u64,
}

pub(super) fn host_value(value: harness_abi::MetricValue) -> MetricValue {
    MetricValue {
        name: value.name.into(),
        value: value.value.into(),
        std_err: value.std_err.into(),
        n: value.n,
    }
}

/// A streaming metric.
pub struct Metric {
    inner: MetricBox,
    origin: Origin,
}

impl Metric {
    pub(super) fn new(inner: MetricBox, origin: Origin) -> Self {
        Self { inner, origin }
    }

    /// What it computes and needs.
    #[must_use]
    pub fn spec(&self) -> Vec<MetricSpec> {
        self.origin
            .follow("spec", || self.inner.spec())
            .into_iter()
            .map(|spec| MetricSpec {
                name: spec.name.into(),
                unit: spec.unit.into(),
                direction: spec.direction,
                requires: spec.requires.into_iter().map(Into::into).collect(),
            })
            .collect()
    }

    /// Takes in a chunk of named values of equal length.
    ///
    /// # Errors
    /// A missing input.
    pub fn update(&mut self, inputs: &[(&str, &[f64])]) -> Result<(), PluginFailure> {
        let shapes: Vec<[i64; 1]> = inputs
            .iter()
            .map(|(_, values)| [values.len() as i64])
            .collect();
        let named: Vec<NamedTensor<'_>> = inputs
            .iter()
            .zip(&shapes)
            .map(|((name, values), shape)| NamedTensor {
                name: (*name).into(),
                tensor: TensorRef {
                    data: values.as_ptr().cast(),
                    dtype: DType::F64,
                    device: Device::CPU,
                    shape: RSlice::from_slice(shape),
                },
            })
            .collect();
        self.origin
            .call("update", || self.inner.update(RSlice::from_slice(&named)))
    }

    /// Its state.
    ///
    /// # Errors
    /// The plugin's own.
    pub fn save(&self) -> Result<Vec<u8>, PluginFailure> {
        Ok(self.origin.call("save", || self.inner.save())?.into())
    }

    /// Takes in the state of another instance.
    ///
    /// # Errors
    /// A state of another metric.
    pub fn merge(&mut self, state: &[u8]) -> Result<(), PluginFailure> {
        self.origin
            .call("merge", || self.inner.merge(RSlice::from_slice(state)))
    }

    /// The values so far, in the order of the specification.
    ///
    /// # Errors
    /// The plugin's own; other names than specified; a value or standard error that is none.
    pub fn finish(&self) -> Result<Vec<MetricValue>, PluginFailure> {
        let values: Vec<MetricValue> = self
            .origin
            .call("finish", || self.inner.finish())?
            .into_iter()
            .map(host_value)
            .collect();
        let expected: Vec<String> = self.spec().into_iter().map(|spec| spec.name).collect();
        let got: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
        if got != expected.iter().map(String::as_str).collect::<Vec<_>>() {
            let message = format!("it returns {got:?}, its specification names {expected:?}");
            return Err(self.origin.broken("finish", message));
        }
        let is_bad = |value: &&MetricValue| {
            let is_error = |e: f64| e.is_finite() && e >= 0.0;
            value.value.is_some_and(|v| !v.is_finite())
                || value.std_err.is_some_and(|e| !is_error(e))
        };
        if let Some(bad) = values.iter().find(is_bad) {
            let MetricValue {
                name,
                value,
                std_err,
                ..
            } = bad;
            let message = format!(
                "`{name}` is {value:?} with standard error {std_err:?}; what is missing is none"
            );
            return Err(self.origin.broken("finish", message));
        }
        Ok(values)
    }
}
