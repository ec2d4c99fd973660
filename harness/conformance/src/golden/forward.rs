//! `forward.safetensors`: embeddings, residuals after every block, final norm, logits, and costs
//! where the fixture has them.

use std::path::Path;

use harness_core::loss::NextTokenSums;
use harness_engine::eval::{Batch, EvalError, GridOptions, NoWatch, ScoredSet, run_grid};
use harness_engine::plugin::{CacheMode, LoadOptions, Model};
use serde_json::Value;
use tch::{Kind, Tensor};

use super::compare::{self, Compared, Tolerance};
use super::fixture::{Array, Tensors};
use super::index::Tolerances;
use super::report::Recorder;

/// Why a check could not be carried out.
pub(super) type Failed = Box<dyn std::error::Error>;

/// Loads `checkpoint` on the CPU with residuals of `kind`.
pub(super) fn load(model: &mut Model, checkpoint: &Path, kind: Kind) -> Result<(), Failed> {
    model.load(
        checkpoint,
        LoadOptions {
            device: tch::Device::Cpu,
            kind,
            allow_nan: false,
        },
    )?;
    Ok(())
}

/// Compares what the adapter says of the model with the manifest.
pub(super) fn describe(
    record: &mut Recorder<'_>,
    label: &str,
    model: &Model,
    manifest: &Value,
    kind: &str,
) {
    let info = match model.info() {
        Ok(info) => info,
        Err(error) => return record.failed(&format!("{label}/info"), error),
    };
    record.compared(&format!("{label}/kind"), compare::text(&info.family, kind));
    let mut number = |name: &str, got: Option<f64>| {
        // An entry that is null says that the family has no such thing; one that is absent says
        // nothing.
        if let Some(want) = manifest.get(name) {
            record.compared(
                &format!("{label}/{name}"),
                compare::number(got, want.as_f64()),
            );
        }
    };
    number("n_layers", Some(info.n_layers as f64));
    number("mask_token_id", info.mask_token_id.map(|id| id as f64));
    if let (Some(_), Some(shifted)) = (info.mask_token_id, manifest["logits_shift"].as_bool()) {
        let want = f64::from(u8::from(shifted));
        let outcome = compare::number(Some(info.logit_offset as f64), Some(want));
        record.compared(&format!("{label}/logit_offset"), outcome);
    }
}

/// Runs every case of the manifest against `model`; checks are named `<label>/<case>.<tensor>`.
pub(super) fn cases(
    record: &mut Recorder<'_>,
    label: &str,
    model: &mut Model,
    tensors: &Tensors,
    manifest: &Value,
    tolerances: &Tolerances,
) {
    let Some(all) = manifest["cases"].as_object() else {
        return record.failed(label, "the manifest names no cases");
    };
    for (case, about) in all {
        let name = format!("{label}/{case}");
        record.attempt(&name, |record| {
            one_case(record, &name, case, about, model, tensors, tolerances)
        });
    }
}

fn one_case(
    record: &mut Recorder<'_>,
    name: &str,
    case: &str,
    about: &Value,
    model: &mut Model,
    tensors: &Tensors,
    tolerances: &Tolerances,
) -> Result<(), Failed> {
    let ids = tensors.integers(&format!("{case}.input_ids"))?;
    let mask = tensors.integers(&format!("{case}.attention_mask"))?;
    // The adapter derives positions from the attention mask.
    tensors.mark(&format!("{case}.position_ids"));
    let batch = batch_of(&ids, mask.flags())?;
    let keep = Some(batch.is_valid.as_slice());
    let mut check = |what: &str, got: &Tensor, tolerance: Tolerance| -> Result<(), Failed> {
        let key = format!("{case}.{what}");
        if tensors.has(&key) {
            let outcome =
                compare::floats(&Array::of(got)?, &tensors.floats(&key)?, keep, tolerance);
            record.compared(&format!("{name}.{what}"), outcome);
        }
        Ok(())
    };
    let mut pass = model.begin(&batch.mask_tensor()?, CacheMode::OFF)?;
    let n_layers = model.info()?.n_layers;
    let mut resid = pass.embed(&batch.input_tensor()?, 0)?; // [b, t, d_model]
    check("embed", &resid, tolerances.resid)?;
    for layer in 0..n_layers {
        pass.blocks(layer, layer + 1, &mut resid)?;
        check(&format!("resid_post.{layer}"), &resid, tolerances.resid)?;
    }
    let shape = resid.size();
    let rows = resid.f_reshape([-1, shape[2]])?; // [b·t, d_model]
    check(
        "final_norm",
        &pass.final_norm(&rows)?.f_reshape(&shape)?,
        tolerances.resid,
    )?;
    check(
        "logits",
        &pass.unembed(&rows)?.f_reshape([shape[0], shape[1], -1])?,
        tolerances.logits,
    )?;
    next_token(
        record, name, case, about, model, &batch, tensors, tolerances,
    )
}

/// Costs of the next token with their mean and perplexities, where the fixture has them.
#[expect(clippy::too_many_arguments, reason = "one call, from above")]
fn next_token(
    record: &mut Recorder<'_>,
    name: &str,
    case: &str,
    about: &Value,
    model: &mut Model,
    batch: &Batch,
    tensors: &Tensors,
    tolerances: &Tolerances,
) -> Result<(), Failed> {
    let key = format!("{case}.ce");
    if !tensors.has(&key) {
        return Ok(());
    }
    let scored = [ScoredSet {
        positions: batch.next_token_targets(),
        logit_offset: 1,
    }];
    let options = GridOptions {
        stack: 1,
        divergence: false,
    };
    let costs = run_grid(model, batch, &[], &scored, options, &mut NoWatch)?;
    let ce = costs.scattered(0, &costs.clean, batch);
    let got = Array::new(&[batch.b, batch.t], ce.clone());
    let loss = tolerances.loss;
    record.compared(
        &format!("{name}.ce"),
        compare::floats(&got, &tensors.floats(&key)?, None, loss),
    );
    let valid: Vec<u8> = batch.is_valid.iter().map(|v| u8::from(*v)).collect();
    if let Some(want) = about.get("next_token_mean") {
        let got = NextTokenSums::of(&ce, &valid, batch.t)?.mean();
        record.compared(
            &format!("{name}.next_token_mean"),
            compare::scalar(got, want.as_f64(), loss),
        );
    }
    for (row, want) in about["perplexity_per_row"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let at = row * batch.t..(row + 1) * batch.t;
        let got = NextTokenSums::of(&ce[at.clone()], &valid[at], batch.t)?.perplexity();
        record.compared(
            &format!("{name}.perplexity.{row}"),
            compare::scalar(got, want.as_f64(), loss),
        );
    }
    Ok(())
}

/// A batch whose input is also its target.
pub(super) fn batch_of(ids: &Array<i64>, is_valid: Vec<bool>) -> Result<Batch, EvalError> {
    let [b, t] = ids.shape[..] else {
        return Err(EvalError::Shape(format!(
            "token ids of shape {:?}, not [b, t]",
            ids.shape
        )));
    };
    Batch::clean(b, t, ids.data.clone(), is_valid)
}

/// The whole model in bfloat16: its mean absolute error against the reference's bfloat16 logits is
/// at most twice the reference's own against float32.
pub(super) fn bf16(
    record: &mut Recorder<'_>,
    model: &mut Model,
    checkpoint: &Path,
    tensors: &Tensors,
    manifest: &Value,
) {
    if !tensors.has("bf16.logits") {
        return;
    }
    const NAME: &str = "forward/bf16.logits_mean_abs";
    record.attempt(NAME, |record| -> Result<(), Failed> {
        load(model, checkpoint, Kind::BFloat16)?;
        let ids = tensors.integers("bf16.input_ids")?;
        let cases = manifest["cases"].as_object().into_iter().flatten();
        let same = |case: &&String| {
            tensors
                .integers(&format!("{case}.input_ids"))
                .is_ok_and(|other| other == ids)
        };
        let case = cases
            .map(|(case, _)| case)
            .find(same)
            .ok_or("no float32 case has the same input ids")?;
        let float32 = tensors.floats(&format!("{case}.logits"))?;
        let want = tensors.floats("bf16.logits")?;
        let batch = batch_of(&ids, vec![true; ids.data.len()])?;
        let mut pass = model.begin(&batch.mask_tensor()?, CacheMode::OFF)?;
        let mut resid = pass.embed(&batch.input_tensor()?, 0)?;
        pass.blocks(0, model.info()?.n_layers, &mut resid)?;
        let shape = resid.size();
        let logits = pass
            .unembed(&resid.f_reshape([-1, shape[2]])?)?
            .f_reshape([shape[0], shape[1], -1])?;
        let got = Array::of(&logits)?;
        if got.shape != want.shape || float32.shape != want.shape {
            return Err(format!(
                "shapes {:?} computed, {:?} and {:?} in the fixture",
                got.shape, want.shape, float32.shape
            )
            .into());
        }
        let bound = 2.0 * mean_abs(&want, &float32);
        let error = mean_abs(&got, &want);
        let reason = if error <= bound {
            String::new()
        } else {
            format!("mean absolute error {error}, allowed {bound}")
        };
        let outcome = Compared {
            n: want.data.len() as u64,
            max_abs: Some(error),
            tolerance: Tolerance {
                atol: bound,
                rtol: 0.0,
            },
            reason,
        };
        record.compared(NAME, outcome);
        Ok(())
    });
}

fn mean_abs(a: &Array<f64>, b: &Array<f64>) -> f64 {
    a.data
        .iter()
        .zip(&b.data)
        .map(|(a, b)| (a - b).abs())
        .sum::<f64>()
        / a.data.len() as f64
}
