//! `trace.*`: active latents of the states of a denoising run, and how they change from step to
//! step. The run is carried out again, and its features are followed by what the decoding-order
//! bench follows them with.

use harness_core::dynamics::{Cut, DynamicsSums, Metric, View};
use harness_core::stats::Bootstrap;
use harness_engine::dynamics::{FeatureTrace, Tracked};
use harness_engine::generate::{
    GenerateError, Observer, ResidualReport, StepFeatures, StepReport, TokenGrid, Wants,
};
use harness_engine::plugin::Model;
use serde_json::Value;
use tch::Tensor;

use super::compare::{self, Tolerance};
use super::fixture::Array;
use super::forward::Failed;
use super::generate::GenerateRuns;
use super::report::Recorder;
use super::sae::same_latents;
use super::settings::RunSpec;

/// Jaccard indices are recorded as float32 quotients of small counts.
const JACCARD: Tolerance = Tolerance {
    atol: 1e-6,
    rtol: 0.0,
};

/// The trace, and what it held after each pass.
struct Kept<'a> {
    trace: FeatureTrace<'a>,
    layer: usize,
    states: Vec<TokenGrid>,
    latents: Vec<Tensor>,
    acts: Vec<Tensor>,
    /// Passes from the second on. `[s - 1][b · l]`
    jaccard: Vec<Vec<f64>>,
}

impl Observer for Kept<'_> {
    fn wants(&self) -> Wants {
        self.trace.wants()
    }

    fn residual(&mut self, report: &ResidualReport<'_>) -> Result<(), GenerateError> {
        self.trace.residual(report)?;
        if let Some(active) = self.trace.active(self.layer) {
            self.latents.push(active.latents.shallow_clone());
            self.acts.push(active.acts.shallow_clone());
        }
        Ok(())
    }

    fn unread(&self) -> Vec<&Tensor> {
        self.trace.unread()
    }

    fn read(&mut self, numbers: &[Tensor]) -> Result<(), GenerateError> {
        self.trace.read(numbers)?;
        let changes = self.trace.jaccard(self.layer);
        self.jaccard.extend(changes.map(<[f64]>::to_vec));
        Ok(())
    }

    fn features(&mut self) -> Result<Option<StepFeatures>, GenerateError> {
        self.trace.features()
    }

    fn step(&mut self, report: &StepReport<'_>) -> Result<(), GenerateError> {
        self.states.push(report.before.clone());
        self.trace.step(report)
    }
}

/// Carries out the run of `manifest.generate.trace` and compares the latents of its layer in every
/// pass.
pub(super) fn run(record: &mut Recorder<'_>, runs: &GenerateRuns<'_>, model: &mut Model) {
    if let Some(about) = runs.manifest.pointer("/generate/trace") {
        record.attempt("trace", |record| check(record, runs, model, about));
    }
}

fn check(
    record: &mut Recorder<'_>,
    runs: &GenerateRuns<'_>,
    model: &mut Model,
    about: &Value,
) -> Result<(), Failed> {
    let name = about["run"].as_str().ok_or("generate.trace names no run")?;
    let layer = about["layer"]
        .as_u64()
        .ok_or("generate.trace names no layer")? as usize;
    let of_run = runs
        .manifest
        .pointer(&format!("/generate/{name}"))
        .ok_or_else(|| format!("the manifest has no run {name}"))?;
    let spec = RunSpec::read(name, of_run, runs.tensors)?;
    let indices = runs.tensors.integers("trace.indices")?;
    let [steps, b, len, width] = indices.shape[..] else {
        return Err(format!(
            "trace.indices of shape {:?}, not [s, b, l, k]",
            indices.shape
        )
        .into());
    };
    let mask_id = model
        .info()?
        .mask_token_id
        .ok_or("a trace of a model without mask token")?;
    let saes = vec![(layer, runs.sae)];
    let mut kept = Kept {
        trace: FeatureTrace::new(saes, width, Tracked::All, mask_id, steps),
        layer,
        states: Vec::new(),
        latents: Vec::new(),
        acts: Vec::new(),
        jaccard: Vec::new(),
    };
    runs.execute(model, &spec, None, &mut kept)?;
    states(record, runs, name, &kept, steps)?;

    let rows = (steps * b * len) as i64;
    let want = indices.tensor()?.f_reshape([rows, width as i64])?;
    record.compared(
        "trace/indices",
        same_latents(&Tensor::f_cat(&kept.latents, 0)?, &want)?,
    );
    let shape = [steps as i64, b as i64, len as i64, -1];
    let got = Array::of(&Tensor::f_cat(&kept.acts, 0)?.f_reshape(shape)?)?;
    let tolerance = runs.tolerances.sae;
    record.compared(
        "trace/values",
        compare::floats(&got, &runs.tensors.floats("trace.values")?, None, tolerance),
    );
    let got = Array::new(&[steps.saturating_sub(1), b, len], kept.jaccard.concat());
    record.compared(
        "trace/jaccard",
        compare::floats(&got, &runs.tensors.floats("trace.jaccard")?, None, JACCARD),
    );
    let sums = DynamicsSums {
        units: kept.trace.finish(),
        ..DynamicsSums::new(vec![layer as u32], steps, len)
    };
    both_masked(record, about, &sums)
}

/// The states the passes ran on are the recorded ones.
fn states(
    record: &mut Recorder<'_>,
    runs: &GenerateRuns<'_>,
    name: &str,
    kept: &Kept<'_>,
    steps: usize,
) -> Result<(), Failed> {
    let want = runs.tensors.integers(&format!("{name}.states"))?;
    let per_state: usize = want.shape.iter().skip(1).product();
    let first = Array {
        shape: [&[steps], &want.shape[1..]].concat(),
        data: want.data.iter().take(steps * per_state).copied().collect(),
    };
    let got = Array {
        shape: first.shape.clone(),
        data: kept
            .states
            .iter()
            .flat_map(|grid| grid.tokens().to_vec())
            .collect(),
    };
    record.compared("trace/states", compare::integers(&got, &first, None));
    Ok(())
}

/// The mean change over positions masked before and after each step (Eq. 20), from the sums that
/// the bench keeps.
fn both_masked(
    record: &mut Recorder<'_>,
    about: &Value,
    sums: &DynamicsSums,
) -> Result<(), Failed> {
    let Some(want) = about["mean_jaccard_both_masked"].as_array() else {
        return Ok(());
    };
    let asked: Vec<_> = (1..sums.n_steps)
        .map(|k| {
            (
                Metric::JaccardPre,
                View::Layer(0),
                Cut::Steps {
                    first: k,
                    end: k + 1,
                },
            )
        })
        .collect();
    if asked.len() != want.len() {
        let message = format!(
            "{} steps of the run, {} recorded means",
            asked.len(),
            want.len()
        );
        return Err(message.into());
    }
    let bootstrap = Bootstrap {
        resamples: 0,
        seed: 0,
    };
    for (step, (want, got)) in want
        .iter()
        .zip(sums.estimates(&asked, bootstrap)?)
        .enumerate()
    {
        record.compared(
            &format!("trace/mean_jaccard_both_masked.{step}"),
            compare::scalar(got.value, want.as_f64(), JACCARD),
        );
    }
    Ok(())
}
