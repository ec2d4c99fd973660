//! `trace.*`: active latents of the recorded states of a denoising run, and how they change from step to step.

use harness_core::sets::jaccard;
use serde_json::Value;
use tch::Tensor;

use super::compare::{self, Tolerance};
use super::fixture::{Array, Tensors};
use super::forward::Failed;
use super::index::Tolerances;
use super::report::Recorder;
use super::sae::same_latents;
use crate::plugin::{CacheMode, Encoded, Model, Sae};

/// Jaccard indices are recorded as float32 quotients of small counts.
const JACCARD: Tolerance = Tolerance {
    atol: 1e-6,
    rtol: 0.0,
};

/// The recorded run of `manifest.generate.trace`.
struct Trace<'a> {
    about: &'a Value,
    run: &'a str,
    layer: usize,
    /// `[s + 1, b, l]`
    states: Array<i64>,
    /// `[b, l] u8`, 1 at real tokens.
    mask: Tensor,
}

/// Runs the model on every recorded state and compares the latents of `manifest.generate.trace.layer`.
pub(super) fn run(
    record: &mut Recorder<'_>,
    model: &mut Model,
    sae: &Sae,
    tensors: &Tensors,
    manifest: &Value,
    tolerances: &Tolerances,
) {
    if let Some(about) = manifest.pointer("/generate/trace") {
        record.attempt("trace", |record| {
            let trace = Trace::read(about, tensors)?;
            trace.check(record, model, sae, tensors, tolerances)
        });
    }
}

/// `[b, l] u8`: `prompt_mask: [b, p]` followed by ones, because generated positions are real tokens.
pub(super) fn full_mask(prompt_mask: &Array<i64>, len: usize) -> Result<Tensor, Failed> {
    let [b, p] = prompt_mask.shape[..] else {
        return Err(format!("prompt_mask of shape {:?}, not [b, p]", prompt_mask.shape).into());
    };
    let mut mask = Vec::with_capacity(b * len);
    for row in prompt_mask.data.chunks_exact(p.max(1)) {
        mask.extend(row.iter().map(|v| u8::from(*v != 0)));
        mask.extend(std::iter::repeat_n(1u8, len.saturating_sub(p)));
    }
    Ok(Tensor::f_from_slice(&mask)?.f_reshape([b as i64, len as i64])?)
}

impl<'a> Trace<'a> {
    fn read(about: &'a Value, tensors: &Tensors) -> Result<Self, Failed> {
        let run = about
            .get("run")
            .and_then(Value::as_str)
            .ok_or("generate.trace names no run")?;
        let layer = about
            .get("layer")
            .and_then(Value::as_u64)
            .ok_or("generate.trace names no layer")? as usize;
        let states = tensors.integers(&format!("{run}.states"))?;
        let [_, _, len] = states.shape[..] else {
            return Err(format!("{run}.states of shape {:?}, not [s, b, l]", states.shape).into());
        };
        let mask = full_mask(&tensors.integers(&format!("{run}.prompt_mask"))?, len)?;
        Ok(Self {
            about,
            run,
            layer,
            states,
            mask,
        })
    }

    fn check(
        &self,
        record: &mut Recorder<'_>,
        model: &mut Model,
        sae: &Sae,
        tensors: &Tensors,
        tolerances: &Tolerances,
    ) -> Result<(), Failed> {
        let indices = tensors.integers("trace.indices")?;
        let values = tensors.floats("trace.values")?;
        let [steps, b, len, width] = indices.shape[..] else {
            return Err(format!(
                "trace.indices of shape {:?}, not [s, b, l, k]",
                indices.shape
            )
            .into());
        };
        let mut sets: Vec<Vec<i64>> = Vec::with_capacity(steps);
        let (mut all_latents, mut all_acts) = (Vec::new(), Vec::new());
        for step in 0..steps {
            let encoded = self.encode(model, sae, step)?;
            sets.push(Vec::try_from(&encoded.latents.f_reshape([-1])?)?);
            all_latents.push(encoded.latents);
            all_acts.push(encoded.acts);
        }
        let rows = (steps * b * len) as i64;
        let want = indices.tensor()?.f_reshape([rows, width as i64])?;
        record.compared(
            "trace/indices",
            Tolerance::EXACT,
            same_latents(&Tensor::f_cat(&all_latents, 0)?, &want)?,
        );
        let got = Array::of(&Tensor::f_cat(&all_acts, 0)?.f_reshape([
            steps as i64,
            b as i64,
            len as i64,
            -1,
        ])?)?;
        record.compared(
            "trace/values",
            tolerances.sae,
            compare::floats(&got, &values, None, tolerances.sae),
        );

        let width = sets
            .first()
            .map_or(1, |set| set.len() / (b * len).max(1))
            .max(1);
        let mut changes = Vec::new();
        for pair in sets.windows(2) {
            changes.extend(
                pair[0]
                    .chunks_exact(width)
                    .zip(pair[1].chunks_exact(width))
                    .map(|(a, b)| jaccard(a, b)),
            );
        }
        let got = Array {
            shape: vec![steps.saturating_sub(1), b, len],
            data: changes,
        };
        record.compared(
            "trace/jaccard",
            JACCARD,
            compare::floats(&got, &tensors.floats("trace.jaccard")?, None, JACCARD),
        );
        self.both_masked(record, model, &got)
    }

    fn encode(&self, model: &mut Model, sae: &Sae, step: usize) -> Result<Encoded, Failed> {
        let [_, b, len] = self.states.shape[..] else {
            return Err("states".into());
        };
        let state = self
            .states
            .data
            .get(step * b * len..(step + 1) * b * len)
            .ok_or_else(|| format!("{}.states has no step {step}", self.run))?;
        let tokens = Tensor::f_from_slice(state)?.f_reshape([b as i64, len as i64])?;
        let mut pass = model.begin(&self.mask, CacheMode::OFF)?;
        let mut resid = pass.embed(&tokens, 0)?; // [b, l, d_model]
        pass.blocks(0, self.layer + 1, &mut resid)?;
        let d_model = resid.size()[2];
        Ok(sae.encode(&resid.f_reshape([-1, d_model])?)?)
    }

    /// The mean change over positions masked before and after each step.
    fn both_masked(
        &self,
        record: &mut Recorder<'_>,
        model: &Model,
        changes: &Array<f64>,
    ) -> Result<(), Failed> {
        let Some(want) = self
            .about
            .get("mean_jaccard_both_masked")
            .and_then(Value::as_array)
        else {
            return Ok(());
        };
        let mask = model
            .info()?
            .mask_token_id
            .ok_or("a trace of a model without mask token")?;
        let n = changes.shape.iter().skip(1).product::<usize>().max(1);
        let states: Vec<&[i64]> = self.states.data.chunks_exact(n).collect();
        let steps = states.windows(2).zip(changes.data.chunks_exact(n));
        if steps.len() != want.len() {
            let message = format!(
                "{} steps of states, {} recorded means",
                steps.len(),
                want.len()
            );
            return Err(message.into());
        }
        for (step, (want, (pair, changes))) in want.iter().zip(steps).enumerate() {
            let masked = |i: &usize| pair.iter().all(|state| state[*i] == mask);
            let still: Vec<f64> = (0..n).filter(masked).map(|i| changes[i]).collect();
            let got = (!still.is_empty()).then(|| still.iter().sum::<f64>() / still.len() as f64);
            record.compared(
                &format!("trace/mean_jaccard_both_masked.{step}"),
                JACCARD,
                compare::scalar(got, want.as_f64(), JACCARD),
            );
        }
        Ok(())
    }
}
