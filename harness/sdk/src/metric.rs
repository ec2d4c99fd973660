use abi_stable::std_types::{ROption, RSlice, RString, RVec};
use harness_abi::{self as abi, AbiResult, MetricBox, NamedTensor};

use crate::{Error, Result, Value, View, bridge::Bridge};

/// One value a metric produces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricSpec {
    /// The column of this value in results.
    pub name: String,
    /// Unit, empty for a plain number or nats.
    pub unit: String,
    /// 1 higher is better, -1 lower is better, 0 neither.
    pub direction: i32,
    /// Names of the inputs `update` needs.
    pub requires: Vec<String>,
}

impl MetricSpec {
    /// A metric without unit or direction.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            unit: String::new(),
            direction: 0,
            requires: Vec::new(),
        }
    }

    /// The inputs it needs.
    #[must_use]
    pub fn requires(mut self, inputs: &[&str]) -> Self {
        self.requires = inputs.iter().map(|&input| input.to_owned()).collect();
        self
    }

    /// 1 higher is better, -1 lower is better.
    #[must_use]
    pub fn direction(mut self, direction: i32) -> Self {
        self.direction = direction;
        self
    }

    /// Gives the value a unit, where it is no plain number and not in nats.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = unit.into();
        self
    }
}

/// A result; a missing value is `None`, never a special number.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricValue {
    /// The [`MetricSpec::name`] that this is a value of.
    pub name: String,
    /// Over all samples so far; missing where they do not define one.
    pub value: Option<f64>,
    /// Standard error over the sampling unit, where it is defined.
    pub std_err: Option<f64>,
    /// Number of samples it rests on.
    pub n: u64,
}

impl MetricValue {
    /// A value without standard error.
    pub fn new(name: impl Into<String>, value: Option<f64>, n: u64) -> Self {
        Self {
            name: name.into(),
            value,
            std_err: None,
            n,
        }
    }

    /// Adds the standard error.
    #[must_use]
    pub fn std_err(mut self, std_err: Option<f64>) -> Self {
        self.std_err = std_err;
        self
    }

    pub(crate) fn into_abi(self) -> abi::MetricValue {
        let option = |value: Option<f64>| value.map_or(ROption::RNone, ROption::RSome);
        abi::MetricValue {
            name: self.name.into(),
            value: option(self.value),
            std_err: option(self.std_err),
            n: self.n,
        }
    }
}

/// The named inputs of one update.
#[derive(Debug, Default)]
pub struct Inputs<'a> {
    named: Vec<(&'a str, View<'a>)>,
}

impl<'a> Inputs<'a> {
    /// Inputs from views (for tests).
    #[must_use]
    pub fn new(named: Vec<(&'a str, View<'a>)>) -> Self {
        Self { named }
    }

    /// The input of that name.
    ///
    /// # Errors
    /// When the host did not give it.
    pub fn view(&self, name: &str) -> Result<View<'a>> {
        self.named
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, view)| *view)
            .ok_or_else(|| {
                let known: Vec<_> = self.named.iter().map(|(known, _)| *known).collect();
                Error::invalid(format!("input `{name}` is missing; given: {known:?}"))
            })
    }

    /// The values of an f64 input.
    ///
    /// # Errors
    /// When it is missing or of another type.
    pub fn f64(&self, name: &str) -> Result<&'a [f64]> {
        self.view(name)?.f64()
    }

    /// Whether the host gave an input of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.named.iter().any(|(known, _)| *known == name)
    }
}

/// A streaming metric. Updates in pieces equal one update; merging is commutative and associative.
///
/// Steering benches make an instance for each feature and give it these inputs, each an array
/// `[n_prefix] f64` with one value a prefix, NaN where there is none:
///
/// | input | unit | what |
/// |---|---|---|
/// | `score_before`, `score_after` | points, 0 to 100 | the judge's score of the unsteered and the steered text |
/// | `ppl_before`, `ppl_after` | perplexity, above 0 | of the unsteered and the steered text under the scorer |
///
/// A metric that requires another input is refused before anything runs. Its values, besides those
/// named `concept_improvement`, `perplexity_reduction` and `steering_score`, are averaged over
/// features and stand in `metrics.csv`.
pub trait Metric: Send + 'static {
    /// A component of this name with its configuration.
    ///
    /// # Errors
    /// A configuration it does not understand.
    fn new(name: &str, config: &Value) -> Result<Self>
    where
        Self: Sized;

    /// What it computes and needs.
    fn spec(&self) -> Vec<MetricSpec>;

    /// Takes in a chunk; all inputs have the same length.
    ///
    /// # Errors
    /// A missing input.
    fn update(&mut self, inputs: &Inputs<'_>) -> Result<()>;

    /// Its state, for `merge` of another instance.
    ///
    /// # Errors
    /// None of its own.
    fn save(&self) -> Result<Value>;

    /// Takes in the state of another instance.
    ///
    /// # Errors
    /// A state of another metric.
    fn merge(&mut self, state: &Value) -> Result<()>;

    /// The values so far.
    ///
    /// # Errors
    /// None of its own; a value that is not defined is `None`.
    fn finish(&self) -> Result<Vec<MetricValue>>;
}

/// Wraps an author's metric for the boundary.
pub fn boxed<T: Metric>(name: &str, config: &Value) -> Result<MetricBox> {
    let bridge = Bridge::new(name, Box::new(T::new(name, config)?));
    Ok(MetricBox::from_value(
        bridge,
        abi_stable::sabi_trait::TD_Opaque,
    ))
}

impl<T: Metric> abi::Metric for Bridge<T> {
    fn spec(&self) -> RVec<abi::MetricSpec> {
        let specs = match self.with("spec", |metric| Ok(metric.spec())) {
            AbiResult::ROk(specs) => specs,
            // As for remaskers: a panic is reported by the next method.
            AbiResult::RErr(_) => Vec::new(),
        };
        specs
            .into_iter()
            .map(|spec| abi::MetricSpec {
                name: spec.name.into(),
                unit: spec.unit.into(),
                direction: spec.direction,
                requires: spec.requires.into_iter().map(RString::from).collect(),
            })
            .collect()
    }

    fn update(&mut self, inputs: RSlice<'_, NamedTensor<'_>>) -> AbiResult<()> {
        self.with_mut("update", |metric| {
            let named = inputs
                .iter()
                .map(|input| (input.name.as_str(), View::new(input.tensor)))
                .collect();
            metric.update(&Inputs { named })
        })
    }

    fn save(&self) -> AbiResult<RVec<u8>> {
        self.with("save", |metric| {
            Ok(serde_json::to_vec(&metric.save()?)?.into())
        })
    }

    fn merge(&mut self, state: RSlice<'_, u8>) -> AbiResult<()> {
        self.with_mut("merge", |metric| {
            metric.merge(&serde_json::from_slice(state.as_slice())?)
        })
    }

    fn finish(&self) -> AbiResult<RVec<abi::MetricValue>> {
        self.with("finish", |metric| {
            Ok(metric
                .finish()?
                .into_iter()
                .map(MetricValue::into_abi)
                .collect())
        })
    }
}
