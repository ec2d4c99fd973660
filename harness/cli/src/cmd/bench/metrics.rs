//! What metrics need, compared with what steering benches give, before anything is run.

use std::collections::{BTreeMap, BTreeSet};

use harness_contract::{
    exit,
    jobs::MetricNeeds,
    plugin::PluginChoice,
    stages::{METRIC_INPUTS, PluginRef, STEERING_VALUES, ScoreParams},
};
use harness_plan::expand::Plan;
use serde_json::Value;

use crate::{
    failure::Failure,
    output,
    plugins::{Answer, open},
};

/// Asks the metrics of cells that are not done what they compute and need. The usual three are
/// known, and nobody is asked where there are no others.
///
/// # Errors
/// A metric that needs what is not given, or cannot be made; a value that none or several of them
/// compute.
pub(super) fn check(
    plan: &Plan,
    done: &BTreeSet<String>,
    choice: &PluginChoice,
) -> Result<(), Failure> {
    let open_cells = (plan.cells.iter()).filter(|cell| !done.contains(&cell.key));
    let params = open_cells.filter_map(|cell| cell.params_of::<ScoreParams>());
    let benches: BTreeSet<Vec<PluginRef>> = params
        .filter(|params| params.keeps_others)
        .map(|params| params.metrics.clone())
        .collect();
    if benches.is_empty() {
        return Ok(());
    }
    let only = benches.iter().flatten().map(|metric| metric.hash.clone());
    let choice = PluginChoice {
        only: only.collect(),
        ..choice.clone()
    };
    let said = match open(&choice, true)? {
        Answer::Said(said) => said,
        Answer::Died { message, plugin } => {
            let whose = plugin.map_or_else(String::new, |plugin| format!(" plugin `{plugin}`:"));
            let message =
                format!("asking metrics what they compute ended the process:{whose} {message}");
            return Err(Failure::new(
                exit::PLUGIN_REFUSED,
                output::sanitize(&message),
            ));
        }
    };
    let described = described(&said);
    for metrics in &benches {
        check_all(metrics, &described)?;
    }
    Ok(())
}

/// What the worker says of each metric, by name.
fn described(said: &Value) -> BTreeMap<&str, &Value> {
    let plugins = said["loaded"].as_array().into_iter().flatten();
    plugins
        .flat_map(|plugin| plugin["components"].as_array().into_iter().flatten())
        .filter(|component| component["kind"] == "metric")
        .filter_map(|component| Some((component["name"].as_str()?, component)))
        .collect()
}

/// Checks the metrics of one bench together.
fn check_all(metrics: &[PluginRef], described: &BTreeMap<&str, &Value>) -> Result<(), Failure> {
    let mut computed: BTreeMap<String, &str> = BTreeMap::new();
    for metric in metrics {
        for value in values(metric, described)? {
            check_inputs(metric, &value)?;
            if let Some(other) = computed.insert(value.name.clone(), &metric.name) {
                let message = format!(
                    "metrics `{other}` and `{}` both compute `{}`",
                    metric.name, value.name
                );
                return Err(Failure::new(exit::CONFIG, output::sanitize(&message))
                    .hint("leave one of them out of `metrics`"));
            }
        }
    }
    match STEERING_VALUES
        .iter()
        .find(|name| !computed.contains_key(**name))
    {
        None => Ok(()),
        Some(name) => {
            let named: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
            let message = format!(
                "none of the metrics {} computes `{name}`, which every steering bench needs",
                named.join(", ")
            );
            Err(Failure::new(exit::CONFIG, output::sanitize(&message))
                .hint(format!("name {} too", STEERING_VALUES.join(", "))))
        }
    }
}

/// What a metric computes.
fn values(
    metric: &PluginRef,
    described: &BTreeMap<&str, &Value>,
) -> Result<Vec<MetricNeeds>, Failure> {
    let said = described.get(metric.name.as_str());
    let error = said.and_then(|said| said["error"].as_str());
    let values = said.and_then(|said| serde_json::from_value(said["values"].clone()).ok());
    match (error, values) {
        (None, Some(values)) => Ok(values),
        (error, _) => {
            let why = error.unwrap_or("it was not loaded");
            let message = format!(
                "metric `{}` of plugin `{}` cannot be made: {why}",
                metric.name, metric.plugin
            );
            Err(
                Failure::new(exit::PLUGIN_REFUSED, output::sanitize(&message))
                    .hint("`harness plugins check` tests it"),
            )
        }
    }
}

fn check_inputs(metric: &PluginRef, value: &MetricNeeds) -> Result<(), Failure> {
    let is_given = |name: &str| METRIC_INPUTS.iter().any(|(given, _)| *given == name);
    let Some(missing) = value.requires.iter().find(|name| !is_given(name)) else {
        return Ok(());
    };
    let message = format!(
        "metric `{}` of plugin `{}` needs the input `{missing}` for its value `{}`, and steering benches do not give it",
        metric.name, metric.plugin, value.name
    );
    let given: Vec<String> = (METRIC_INPUTS.iter())
        .map(|(name, what)| format!("\n  {name}: {what}"))
        .collect();
    Err(
        Failure::new(exit::CONFIG, output::sanitize(&message)).hint(format!(
            "inputs on offer, one value a prefix:{}",
            given.concat()
        )),
    )
}
