//! `loss.safetensors`: residuals, costs and losses of the unmodified model and of every splice, and
//! explained variance.

use harness_core::loss::{DiffusionLoss, DiffusionSums, MaskedCosts, NextTokenSums};
use harness_engine::eval::{
    Batch, Candidate, EvalError, Explained, GridCosts, GridOptions, Replacement, Scope, ScoredSet,
    Watch, Which, run_grid,
};
use harness_engine::plugin::{Model, Objective, Pass, Sae};
use serde_json::Value;
use tch::Tensor;

use super::compare::{self, Tolerance};
use super::ev::Variances;
use super::fixture::{Array, Tensors};
use super::forward::Failed;
use super::index::Tolerances;
use super::report::Recorder;

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
    layer: usize,
}

impl LossRun<'_> {
    /// Runs every case of `manifest.loss`.
    pub fn run(&self, record: &mut Recorder<'_>, model: &mut Model) {
        for (key, about) in self.manifest["loss"].as_object().into_iter().flatten() {
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
        let wanted = splices(about)?;
        let mut candidates = vec![Candidate {
            layer: case.layer,
            with: Replacement::Sae(self.sae),
            at: wanted.iter().map(|(scope, _, _)| *scope).collect(),
        }];
        let variances = Variances::read(key, about, self.sae, self.rescaled, record)?;
        candidates.extend(variances.candidates(case.layer));
        let mut scored = vec![case.scored(case.logit_offset)];
        if about.get("paper_code").is_some() {
            // The released evaluation script's quirk: every position scored by its own logits.
            scored.push(case.scored(0));
        }
        let recorded = |scope: &&str| self.tensors.has(&format!("{key}.splice_{scope}.logits"));
        let mut taken = Taken {
            resid: None,
            logits: Vec::new(),
            wanted: wanted
                .iter()
                .filter(|(_, name, _)| recorded(name))
                .map(|(scope, _, _)| *scope)
                .collect(),
            explained: variances.explained(
                case.layer,
                model.info()?.d_model,
                &case.batch,
                model.options()?.device,
            )?,
        };
        let options = GridOptions {
            stack: candidates[0].at.len(),
            divergence: false,
        };
        let costs = run_grid(
            model,
            &case.batch,
            &candidates,
            &scored,
            options,
            &mut taken,
        )?;

        let resid = taken.resid.as_ref().ok_or("the grid kept no residual")?;
        self.tensor(record, &case, resid, "resid", self.tolerances.resid)?;
        let clean = costs.scattered(0, &costs.clean, &case.batch);
        self.costs(record, &case, &clean, "")?;
        let label = format!("{name}.base");
        let base = self.losses(record, &case, &label, &about["base"], &clean)?;
        for (splice, (scope, scope_name, want)) in costs.spliced.iter().zip(&wanted) {
            let ce = costs.scattered(0, &splice.ce, &case.batch);
            self.costs(record, &case, &ce, &format!("splice_{scope_name}."))?;
            if let Some((_, logits)) = taken.logits.iter().find(|(of, _)| of == scope) {
                let what = format!("splice_{scope_name}.logits");
                self.tensor(record, &case, logits, &what, self.tolerances.logits)?;
            }
            let label = format!("{name}.splice_{scope_name}");
            let loss = self.losses(record, &case, &label, want, &ce)?;
            self.deltas(record, &label, want, &base, &loss);
        }
        if let Some(want) = about.get("paper_code") {
            self.paper_code(record, &case, want, &costs)?;
        }
        variances.compare(&taken.explained, self.tolerances, record)
    }

    /// The losses of the second set of scored logits.
    fn paper_code(
        &self,
        record: &mut Recorder<'_>,
        case: &Case<'_>,
        want: &Value,
        costs: &GridCosts,
    ) -> Result<(), Failed> {
        let label = format!("{}.paper_code", case.name);
        let mut losses = |what: &str, ce: &[Vec<f64>]| {
            let (label, want) = (format!("{label}.{what}"), &want[what]);
            let ce = costs.scattered(1, ce, &case.batch);
            self.losses(record, case, &label, want, &ce)
        };
        let base = losses("base", &costs.clean)?;
        let all = (costs.spliced.iter())
            .find(|s| s.at == Scope::All)
            .ok_or("paper_code needs the splice at all positions")?;
        let spliced = losses("splice_all", &all.ce)?;
        self.deltas(record, &label, want, &base, &spliced);
        Ok(())
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
                // Recorded for every family; a model that predicts the next token reads the clean
                // ids.
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
            layer,
        })
    }

    /// Costs compared with `<case>.<prefix>ce`, if it was recorded. `ce`: `[b, t]`
    fn costs(
        &self,
        record: &mut Recorder<'_>,
        case: &Case<'_>,
        ce: &[f64],
        prefix: &str,
    ) -> Result<(), Failed> {
        let key = format!("{}.{prefix}ce", case.key);
        if self.tensors.has(&key) {
            let got = Array::new(&[case.batch.b, case.batch.t], ce.to_vec());
            let loss = self.tolerances.loss;
            record.compared(
                &format!("{}.{prefix}ce", case.name),
                compare::floats(&got, &self.tensors.floats(&key)?, None, loss),
            );
        }
        Ok(())
    }

    /// A tensor of the case, padding aside.
    fn tensor(
        &self,
        record: &mut Recorder<'_>,
        case: &Case<'_>,
        got: &Tensor,
        what: &str,
        tolerance: Tolerance,
    ) -> Result<(), Failed> {
        let want = self.tensors.floats(&format!("{}.{what}", case.key))?;
        let keep = Some(case.batch.is_valid.as_slice());
        let outcome = compare::floats(&Array::of(got)?, &want, keep, tolerance);
        record.compared(&format!("{}.{what}", case.name), outcome);
        Ok(())
    }

    /// Aggregations of `ce`, each compared with its entry of `want`; returned by name.
    fn losses(
        &self,
        record: &mut Recorder<'_>,
        case: &Case<'_>,
        label: &str,
        want: &Value,
        ce: &[f64],
    ) -> Result<Vec<(&'static str, Option<f64>)>, Failed> {
        let named = aggregate(case, ce)?;
        let loss = self.tolerances.loss;
        for (name, got) in &named {
            if let Some(want) = want.get(*name) {
                record.compared(
                    &format!("{label}.{name}"),
                    compare::scalar(*got, want.as_f64(), loss),
                );
            }
        }
        let t = case.batch.t;
        let rows: Vec<f64> = ce.chunks_exact(t).map(|row| row.iter().sum()).collect();
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
            if let Some(want) = want[name].as_array() {
                let want: Vec<f64> = want.iter().filter_map(Value::as_f64).collect();
                let (got, want) = (Array::column(got), Array::column(want));
                record.compared(
                    &format!("{label}.{name}"),
                    compare::floats(&got, &want, None, tolerance),
                );
            }
        }
        Ok(named)
    }

    fn deltas(
        &self,
        record: &mut Recorder<'_>,
        label: &str,
        want: &Value,
        base: &[(&str, Option<f64>)],
        spliced: &[(&str, Option<f64>)],
    ) {
        for ((name, base), (_, spliced)) in base.iter().zip(spliced) {
            if let Some(want) = want["delta"].get(*name) {
                let got = spliced.zip(*base).map(|(spliced, base)| spliced - base);
                let loss = self.tolerances.loss;
                record.compared(
                    &format!("{label}.delta.{name}"),
                    compare::scalar(got, want.as_f64(), loss),
                );
            }
        }
    }
}

impl Case<'_> {
    /// The tokens whose costs count.
    fn scored(&self, logit_offset: usize) -> ScoredSet {
        ScoredSet {
            positions: if self.diffusion {
                self.batch.denoising_targets()
            } else {
                self.batch.next_token_targets()
            },
            logit_offset,
        }
    }
}

/// A splice of the manifest: its scope, the scope's name, what is expected.
type Splice<'a> = (Scope, &'a str, &'a Value);

fn splices(about: &Value) -> Result<Vec<Splice<'_>>, Failed> {
    about["splice"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, want)| {
            let scope = Scope::named(name).ok_or_else(|| {
                format!("splice scope {name:?}: all, masked and unmasked are known")
            })?;
            Ok((scope, name.as_str(), want))
        })
        .collect()
}

/// Tensors on their way through the grid.
struct Taken {
    resid: Option<Tensor>,
    logits: Vec<(Scope, Tensor)>,
    /// Splices whose logits at all positions were recorded.
    wanted: Vec<Scope>,
    explained: Explained,
}

impl Watch for Taken {
    fn layer(&mut self, layer: usize, resid: &Tensor, x: &Tensor) -> Result<(), EvalError> {
        self.resid = Some(resid.copy());
        self.explained.layer(layer, resid, x)
    }

    fn reconstructed(
        &mut self,
        candidate: usize,
        x: &Tensor,
        x_hat: &Tensor,
    ) -> Result<(), EvalError> {
        self.explained.reconstructed(candidate, x, x_hat)
    }

    fn last(&mut self, pass: &mut Pass, which: Which, resid: &Tensor) -> Result<(), EvalError> {
        let Which::Spliced { at, .. } = which else {
            return Ok(());
        };
        if self.wanted.contains(&at) {
            let shape = resid.size();
            let rows = resid.f_reshape([-1, shape[2]])?;
            let logits = pass.unembed(&rows)?.f_reshape([shape[0], shape[1], -1])?;
            self.logits.push((at, logits));
        }
        Ok(())
    }

    fn unread(&self) -> Vec<&Tensor> {
        self.explained.unread()
    }

    fn read(&mut self, numbers: &[Tensor]) -> Result<(), EvalError> {
        self.explained.read(numbers)
    }
}

/// The losses of a case by the names of the manifest.
fn aggregate(case: &Case<'_>, ce: &[f64]) -> Result<Vec<(&'static str, Option<f64>)>, Failed> {
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
