//! `loss.safetensors`: residuals, costs and losses of the unmodified model and of every splice, and explained variance.

use harness_core::loss::{DiffusionLoss, DiffusionSums, MaskedCosts, NextTokenSums};
use serde_json::Value;
use tch::Tensor;

use super::compare::{self, Tolerance};
use super::ev::Explained;
use super::fixture::{Array, Tensors};
use super::forward::Failed;
use super::index::Tolerances;
use super::report::Recorder;
use crate::eval::{Batch, Scope, Scored, position_costs, reconstruct_where, splice};
use crate::plugin::{CacheMode, Model, Objective, Pass, Sae};

/// Everything the cases share.
pub(super) struct LossRun<'a> {
    pub tensors: &'a Tensors,
    pub manifest: &'a Value,
    pub tolerances: &'a Tolerances,
    pub sae: &'a Sae,
    /// The SAE whose decoder rows are rescaled, where the family has one.
    pub rescaled: Option<&'a Sae>,
}

/// One case after its forward up to the SAE's layer.
struct Case<'a> {
    name: String,
    key: &'a str,
    batch: Batch,
    mask_rate: Vec<f64>,
    diffusion: bool,
    logit_offset: usize,
    n_layers: usize,
    layer: usize,
}

impl LossRun<'_> {
    /// Runs every case of `manifest.loss`.
    pub fn run(&self, record: &mut Recorder<'_>, model: &mut Model) {
        for (key, about) in self
            .manifest
            .get("loss")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let name = format!("loss/{key}");
            record.attempt(&name, |record| self.case(record, model, &name, key, about));
        }
    }

    fn case(
        &self,
        record: &mut Recorder<'_>,
        model: &mut Model,
        name: &str,
        key: &str,
        about: &Value,
    ) -> Result<(), Failed> {
        let case = self.read(model, name, key)?;
        let mut pass = model.begin(&case.batch.mask_tensor()?, CacheMode::OFF)?;
        let mut resid = pass.embed(&case.batch.input_tensor()?, 0)?; // [b, t, d_model]
        pass.blocks(0, case.layer + 1, &mut resid)?;
        let resid_tolerance = self.tolerances.resid;
        let outcome = compare::floats(
            &Array::of(&resid)?,
            &self.tensors.floats(&format!("{key}.resid"))?,
            Some(&case.batch.is_valid),
            resid_tolerance,
        );
        record.compared(&format!("{name}.resid"), resid_tolerance, outcome);

        let mut last = resid.copy();
        pass.blocks(case.layer + 1, case.n_layers, &mut last)?;
        let base = self.costs(record, &case, &mut pass, &last, "", case.logit_offset)?;
        let base_loss = self.losses(
            record,
            &case,
            &format!("{name}.base"),
            about.get("base"),
            &base,
        )?;
        let mut spliced_all = None;
        for (scope_name, want) in about
            .get("splice")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let scope = Scope::named(scope_name).ok_or_else(|| {
                format!("splice scope {scope_name:?}: all, masked and unmasked are known")
            })?;
            let (_, x_hat, index) =
                reconstruct_where(&resid, self.sae, &case.batch.positions(scope))?;
            let mut spliced = splice(&resid, &x_hat, &index)?;
            pass.blocks(case.layer + 1, case.n_layers, &mut spliced)?;
            let ce = self.costs(
                record,
                &case,
                &mut pass,
                &spliced,
                &format!("splice_{scope_name}."),
                case.logit_offset,
            )?;
            self.logits(
                record,
                &case,
                &mut pass,
                &spliced,
                &format!("splice_{scope_name}.logits"),
            )?;
            let label = format!("{name}.splice_{scope_name}");
            let loss = self.losses(record, &case, &label, Some(want), &ce)?;
            self.deltas(
                record,
                &format!("{label}.delta"),
                want.get("delta"),
                &base_loss,
                &loss,
            );
            if scope == Scope::All {
                spliced_all = Some(spliced);
            }
        }
        if let (Some(want), Some(spliced)) = (about.get("paper_code"), &spliced_all) {
            self.paper_code(record, &case, &mut pass, &last, spliced, want)?;
        }
        let explained = Explained {
            key,
            about,
            batch: &case.batch,
            resid: &resid,
            sae: self.sae,
            rescaled: self.rescaled,
            tolerances: self.tolerances,
        };
        explained.run(record)
    }

    fn read<'a>(&self, model: &Model, name: &str, key: &'a str) -> Result<Case<'a>, Failed> {
        let info = model.info()?;
        let ids = |what: &str| self.tensors.integers(&format!("{key}.{what}"));
        let clean = ids("clean_ids")?;
        let diffusion = info.objective == Objective::MaskedDiffusion;
        let [b, t] = clean.shape[..] else {
            return Err(format!("clean_ids of shape {:?}, not [b, t]", clean.shape).into());
        };
        let (input_ids, is_masked, mask_rate) = match diffusion {
            true => {
                let rate = self.tensors.floats(&format!("{key}.t"))?.data;
                (ids("noisy_ids")?.data, ids("mask_pattern")?.flags(), rate)
            }
            false => {
                // Recorded for every family; a model that predicts the next token reads the clean ids.
                for what in ["noisy_ids", "mask_pattern", "t"] {
                    self.tensors.mark(&format!("{key}.{what}"));
                }
                (clean.data.clone(), vec![false; b * t], Vec::new())
            }
        };
        let batch = Batch {
            b,
            t,
            input_ids,
            target_ids: clean.data,
            is_valid: ids("attention_mask")?.flags(),
            is_masked,
        };
        let layer = self
            .manifest
            .pointer("/sae/layer")
            .and_then(Value::as_u64)
            .ok_or("the manifest names no sae.layer")? as usize;
        if layer >= info.n_layers {
            return Err(format!(
                "sae.layer {layer} out of range: the model has {} blocks, 0 to {}",
                info.n_layers,
                info.n_layers - 1
            )
            .into());
        }
        Ok(Case {
            name: name.to_owned(),
            key,
            batch: batch.checked()?,
            mask_rate,
            diffusion,
            logit_offset: info.logit_offset,
            n_layers: info.n_layers,
            layer,
        })
    }

    /// Costs of the scored positions, compared with `<case>.<prefix>ce`.
    fn costs(
        &self,
        record: &mut Recorder<'_>,
        case: &Case<'_>,
        pass: &mut Pass,
        last: &Tensor,
        prefix: &str,
        logit_offset: usize,
    ) -> Result<Vec<f32>, Failed> {
        let ce = self.uncompared_costs(case, pass, last, logit_offset)?;
        let key = format!("{}.{prefix}ce", case.key);
        if self.tensors.has(&key) {
            let got = Array {
                shape: vec![case.batch.b, case.batch.t],
                data: ce.iter().map(|v| f64::from(*v)).collect(),
            };
            let loss = self.tolerances.loss;
            record.compared(
                &format!("{}.{prefix}ce", case.name),
                loss,
                compare::floats(&got, &self.tensors.floats(&key)?, None, loss),
            );
        }
        Ok(ce)
    }

    fn uncompared_costs(
        &self,
        case: &Case<'_>,
        pass: &mut Pass,
        last: &Tensor,
        logit_offset: usize,
    ) -> Result<Vec<f32>, Failed> {
        let positions = if case.diffusion {
            case.batch.denoising_targets()
        } else {
            case.batch.next_token_targets()
        };
        Ok(position_costs(
            pass,
            last,
            &Scored {
                positions: &positions,
                targets: &case.batch.target_ids,
                logit_offset,
            },
        )?)
    }

    fn logits(
        &self,
        record: &mut Recorder<'_>,
        case: &Case<'_>,
        pass: &mut Pass,
        last: &Tensor,
        what: &str,
    ) -> Result<(), Failed> {
        let key = format!("{}.{what}", case.key);
        if self.tensors.has(&key) {
            let shape = last.size();
            let got = pass
                .unembed(&last.f_reshape([-1, shape[2]])?)?
                .f_reshape([shape[0], shape[1], -1])?;
            let tolerance = self.tolerances.logits;
            let outcome = compare::floats(
                &Array::of(&got)?,
                &self.tensors.floats(&key)?,
                Some(&case.batch.is_valid),
                tolerance,
            );
            record.compared(&format!("{}.{what}", case.name), tolerance, outcome);
        }
        Ok(())
    }

    /// Aggregations of `ce`, each compared with its entry of `want`; returned by name.
    fn losses(
        &self,
        record: &mut Recorder<'_>,
        case: &Case<'_>,
        label: &str,
        want: Option<&Value>,
        ce: &[f32],
    ) -> Result<Vec<(&'static str, Option<f64>)>, Failed> {
        let named = aggregate(case, ce)?;
        let Some(want) = want else { return Ok(named) };
        let loss = self.tolerances.loss;
        for (name, got) in &named {
            if let Some(want) = want.get(*name) {
                record.compared(
                    &format!("{label}.{name}"),
                    loss,
                    compare::scalar(*got, want.as_f64(), loss),
                );
            }
        }
        let t = case.batch.t;
        let rows: Vec<f64> = ce
            .chunks_exact(t)
            .map(|row| row.iter().map(|v| f64::from(*v)).sum())
            .collect();
        let scored = if case.diffusion {
            case.batch.denoising_targets()
        } else {
            case.batch.next_token_targets()
        };
        let count = |flags: &[bool]| {
            flags
                .chunks_exact(t)
                .map(|row| row.iter().filter(|v| **v).count() as f64)
                .collect::<Vec<_>>()
        };
        let weighted = rows
            .iter()
            .zip(&case.mask_rate)
            .map(|(sum, rate)| sum / rate)
            .collect();
        let exact = Tolerance::EXACT;
        let scored = count(&scored);
        let lists = [
            ("per_sequence_sum", rows, loss),
            ("per_sequence_eq7", weighted, loss),
            ("n_masked", scored.clone(), exact),
            ("n_targets", scored, exact),
            ("n_valid", count(&case.batch.is_valid), exact),
        ];
        for (name, got, tolerance) in lists {
            if let Some(want) = want.get(name).and_then(Value::as_array) {
                let want: Vec<f64> = want.iter().filter_map(Value::as_f64).collect();
                let column = |data: Vec<f64>| Array {
                    shape: vec![data.len()],
                    data,
                };
                record.compared(
                    &format!("{label}.{name}"),
                    tolerance,
                    compare::floats(&column(got), &column(want), None, tolerance),
                );
            }
        }
        Ok(named)
    }

    fn deltas(
        &self,
        record: &mut Recorder<'_>,
        label: &str,
        want: Option<&Value>,
        base: &[(&str, Option<f64>)],
        spliced: &[(&str, Option<f64>)],
    ) {
        for ((name, base), (_, spliced)) in base.iter().zip(spliced) {
            if let Some(want) = want.and_then(|want| want.get(*name)) {
                let got = spliced.zip(*base).map(|(spliced, base)| spliced - base);
                let loss = self.tolerances.loss;
                record.compared(
                    &format!("{label}.{name}"),
                    loss,
                    compare::scalar(got, want.as_f64(), loss),
                );
            }
        }
    }

    /// The released evaluation script's quirk: every position scored by its own logits.
    fn paper_code(
        &self,
        record: &mut Recorder<'_>,
        case: &Case<'_>,
        pass: &mut Pass,
        last: &Tensor,
        spliced: &Tensor,
        want: &Value,
    ) -> Result<(), Failed> {
        let label = format!("{}.paper_code", case.name);
        let base = self.uncompared_costs(case, pass, last, 0)?;
        let base = self.losses(
            record,
            case,
            &format!("{label}.base"),
            want.get("base"),
            &base,
        )?;
        let ce = self.uncompared_costs(case, pass, spliced, 0)?;
        let loss = self.losses(
            record,
            case,
            &format!("{label}.splice_all"),
            want.get("splice_all"),
            &ce,
        )?;
        self.deltas(
            record,
            &format!("{label}.delta"),
            want.get("delta"),
            &base,
            &loss,
        );
        Ok(())
    }
}

/// The losses of a case by the names of the manifest.
fn aggregate(case: &Case<'_>, ce: &[f32]) -> Result<Vec<(&'static str, Option<f64>)>, Failed> {
    let flags = |flags: &[bool]| flags.iter().map(|v| u8::from(*v)).collect::<Vec<u8>>();
    let is_valid = flags(&case.batch.is_valid);
    if !case.diffusion {
        return Ok(vec![(
            "next_token_mean",
            NextTokenSums::of(ce, &is_valid, case.batch.t)?.mean(),
        )]);
    }
    let is_masked = flags(&case.batch.denoising_targets());
    let sums = DiffusionSums::of(&MaskedCosts {
        ce,
        is_masked: &is_masked,
        is_valid: &is_valid,
        mask_rate: &case.mask_rate,
    })?;
    let DiffusionLoss {
        eq7_sum,
        eq7_per_token,
        masked_mean,
        authors_weighted,
    } = sums.finish();
    Ok(vec![
        ("eq7_sum", eq7_sum),
        ("eq7_per_token", eq7_per_token),
        ("masked_mean", masked_mean),
        ("authors_weighted", authors_weighted),
    ])
}
