//! `generate.safetensors`: denoising runs state by state, greedy decoding, and the same under
//! steering.

use harness_engine::generate::{
    AutoregressRequest, DenoiseRequest, Generated, Magnitude, Observer, Steering, autoregress,
    denoise,
};
use harness_engine::plugin::{Model, Registry, Sae};
use serde_json::Value;
use tch::Tensor;

use super::compare;
use super::fixture::{Array, Tensors};
use super::forward::Failed;
use super::index::Tolerances;
use super::report::Recorder;
use super::sequences::Sequences;
use super::settings::{RunSpec, denoises};
use super::watch::Watch;

/// Why a run that samples inside torch is not repeated.
const TORCH_RNG: &str = "samples with libtorch's generator; this project's draws are keyed by (seed, item, step, position) instead";

/// Everything the runs share.
pub(super) struct GenerateRuns<'a> {
    pub tensors: &'a Tensors,
    pub manifest: &'a Value,
    pub tolerances: &'a Tolerances,
    pub plugins: &'a Registry,
    pub sae: &'a Sae,
}

impl GenerateRuns<'_> {
    /// Runs every entry of `manifest.generate` but the trace.
    pub fn run(&self, record: &mut Recorder<'_>, model: &mut Model) {
        self.direction(record);
        for (name, about) in self.manifest["generate"].as_object().into_iter().flatten() {
            if name == "trace" {
                continue;
            }
            let label = match about["scope"].as_str() {
                Some(scope) => format!("steer/{scope}"),
                None => format!("generate/{name}"),
            };
            record.attempt(&label, |record| {
                self.one(
                    record,
                    model,
                    &label,
                    &RunSpec::read(name, about, self.tensors)?,
                )
            });
        }
    }

    /// The recorded direction is the decoder row of the feature.
    fn direction(&self, record: &mut Recorder<'_>) {
        let Some(feature) = self
            .manifest
            .pointer("/steer/feature")
            .and_then(Value::as_i64)
        else {
            return;
        };
        record.attempt("steer/v", |record| -> Result<(), Failed> {
            let got = self
                .sae
                .decoder_rows(&Tensor::f_from_slice(&[feature])?)?
                .f_squeeze_dim(0)?;
            let tolerance = self.tolerances.sae;
            record.compared(
                "steer/v",
                compare::floats(
                    &Array::of(&got)?,
                    &self.tensors.floats("steer.v")?,
                    None,
                    tolerance,
                ),
            );
            Ok(())
        });
    }

    fn one(
        &self,
        record: &mut Recorder<'_>,
        model: &mut Model,
        label: &str,
        spec: &RunSpec<'_>,
    ) -> Result<(), Failed> {
        if spec.needs_torch_rng() {
            for what in ["states", "decode_step", "tokens"] {
                self.tensors.mark(&format!("{}.{what}", spec.name));
            }
            record.skipped(&format!("{label}.states"), TORCH_RNG);
            return Ok(());
        }
        let Some(scope) = spec.text("scope") else {
            let mut watch = Watch::default();
            let generated = self.execute(model, spec, None, &mut watch)?;
            return self
                .sequences(model, label, spec)
                .compare(record, &generated, &watch);
        };
        let number = |key: &str| {
            spec.number(&[key])
                .ok_or_else(|| format!("the manifest gives no {key}"))
        };
        let (layer, feature) = (spec.count(&["layer"])?, spec.count(&["feature"])? as i64);
        let (alpha, m) = (number("alpha")?, number("m")?);
        let mut policy = spec.steering_policy(scope, self.plugins)?;
        let latents = vec![feature; spec.prompts.len()];
        let directions = self.sae.decoder_rows(&Tensor::f_from_slice(&latents)?)?; // [b, d_model]
        let mut steering = Steering::along(
            layer,
            &mut policy,
            alpha,
            directions,
            Magnitude::Constant(m),
        )
        .reading(self.sae, &latents);
        let mut watch = Watch::steered();
        let generated = self.execute(model, spec, Some(&mut steering), &mut watch)?;
        self.sequences(model, label, spec)
            .compare(record, &generated, &watch)?;
        self.first_pass(record, label, spec, &watch)?;
        self.unsteered(record, model, label, spec, &generated)
    }

    fn sequences<'a>(
        &'a self,
        model: &Model,
        label: &'a str,
        spec: &'a RunSpec<'a>,
    ) -> Sequences<'a> {
        let mask_id = model.info().ok().and_then(|info| info.mask_token_id);
        Sequences {
            label,
            spec,
            tensors: self.tensors,
            mask_id,
        }
    }

    /// Carries out a recorded run.
    pub fn execute(
        &self,
        model: &mut Model,
        spec: &RunSpec<'_>,
        steering: Option<&mut Steering<'_>>,
        watch: &mut dyn Observer,
    ) -> Result<Generated, Failed> {
        let info = model.info()?.clone();
        let item_ids = spec.item_ids();
        let seed = spec.number(&["seed"]).unwrap_or(0.0) as u64;
        if !denoises(&info) {
            let stop_ids = spec.eos();
            let request = AutoregressRequest {
                prompts: &spec.prompts,
                item_ids: &item_ids,
                max_new_tokens: spec.count(&["new_tokens", "n"])?,
                sampling: spec.sampling(&info),
                stop_ids: stop_ids.as_deref(),
                seed,
            };
            return Ok(autoregress(model, &request, steering, Some(watch))?);
        }
        let mut remasker = spec.remasker(self.plugins)?;
        let request = DenoiseRequest {
            prompts: &spec.prompts,
            item_ids: &item_ids,
            max_new_tokens: spec.count(&["max_new_tokens", "gen_length"])?,
            steps: spec.count(&["steps"])?,
            block_length: spec.count(&["block_length"]).ok(),
            sampling: spec.sampling(&info),
            cfg_scale: spec.number(&["cfg_scale"]).unwrap_or(0.0),
            seed,
            order_draws: &spec.order_draws(self.tensors)?,
        };
        Ok(denoise(
            model,
            &mut remasker,
            &request,
            steering,
            Some(watch),
        )?)
    }

    /// What steering found, chose and left in the first forward pass.
    fn first_pass(
        &self,
        record: &mut Recorder<'_>,
        label: &str,
        spec: &RunSpec<'_>,
        watch: &Watch,
    ) -> Result<(), Failed> {
        let first = watch.first.as_ref().ok_or("no pass was steered")?;
        let selected = self
            .tensors
            .integers(&format!("{}.first_selected", spec.name))?;
        let width = spec.prompt_mask.shape[1];
        let len = selected.shape.get(1).copied().unwrap_or(0);
        let row = |i: usize| {
            spec.prompt_mask
                .data
                .chunks_exact(width)
                .nth(i / len.max(1))
        };
        let in_prompt = |i: usize| row(i).and_then(|mask| mask.get(i % len.max(1)));
        let valid = |i: usize| in_prompt(i).is_none_or(|mask| *mask != 0);
        let keep: Vec<bool> = (0..selected.data.len()).map(valid).collect();
        record.compared(
            &format!("{label}.first_selected"),
            compare::integers(&first.selected, &selected, Some(&keep)),
        );
        let resid = self.tolerances.resid;
        for (what, got) in [
            ("first_resid", &first.before),
            ("first_steered", &first.after),
        ] {
            let want = self.tensors.floats(&format!("{}.{what}", spec.name))?;
            record.compared(
                &format!("{label}.{what}"),
                compare::floats(got, &want, Some(&keep), resid),
            );
        }
        Ok(())
    }

    /// The same run without steering, and how many tokens steering changed.
    fn unsteered(
        &self,
        record: &mut Recorder<'_>,
        model: &mut Model,
        label: &str,
        spec: &RunSpec<'_>,
        steered: &Generated,
    ) -> Result<(), Failed> {
        let key = format!("{}.unsteered_final", spec.name);
        if !self.tensors.has(&key) {
            return Ok(());
        }
        let plain = self.execute(model, spec, None, &mut Watch::default())?;
        let got = Array::new(
            &[plain.tokens.b(), plain.tokens.t()],
            plain.tokens.tokens().to_vec(),
        );
        let keep: Vec<bool> = (0..got.data.len())
            .map(|i| plain.tokens.is_valid(i))
            .collect();
        record.compared(
            &format!("{label}.unsteered_final"),
            compare::integers(&got, &self.tensors.integers(&key)?, Some(&keep)),
        );
        if let Some(want) = spec.about.get("changed") {
            let both = plain.tokens.tokens().iter().zip(steered.tokens.tokens());
            let changed = both.filter(|(plain, steered)| plain != steered).count();
            record.compared(
                &format!("{label}.changed"),
                compare::number(Some(changed as f64), want.as_f64()),
            );
        }
        Ok(())
    }
}
