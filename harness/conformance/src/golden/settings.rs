//! The recorded runs of `manifest.generate`: prompts, samplers, orders and steering scopes.

use harness_engine::generate::{DrawLayout, OrderDraws, Sampling, SamplingRule};
use harness_engine::plugin::{ModelInfo, Objective, Registry, Remasker, SteeringPolicy};
use serde_json::{Map, Value, json};

use super::fixture::{Array, Tensors};
use super::forward::Failed;

/// One run with its inputs.
pub(super) struct RunSpec<'a> {
    pub name: &'a str,
    pub about: &'a Value,
    /// Real tokens of each row.
    pub prompts: Vec<Vec<i64>>,
    /// `[b, p]`, as recorded.
    pub prompt_mask: Array<i64>,
}

impl<'a> RunSpec<'a> {
    /// Reads `<name>.prompt` and `<name>.prompt_mask`.
    pub fn read(name: &'a str, about: &'a Value, tensors: &Tensors) -> Result<Self, Failed> {
        let prompt = tensors.integers(&format!("{name}.prompt"))?;
        let prompt_mask = tensors.integers(&format!("{name}.prompt_mask"))?;
        let [_, width] = prompt.shape[..] else {
            return Err(format!("prompt of shape {:?}, not [b, p]", prompt.shape).into());
        };
        if prompt_mask.shape != prompt.shape || width == 0 {
            return Err(format!(
                "prompt_mask of shape {:?} for a prompt of {:?}",
                prompt_mask.shape, prompt.shape
            )
            .into());
        }
        let rows = prompt
            .data
            .chunks_exact(width)
            .zip(prompt_mask.data.chunks_exact(width));
        let prompts = rows
            .map(|(ids, mask)| {
                ids.iter()
                    .zip(mask)
                    .filter(|(_, m)| **m != 0)
                    .map(|(id, _)| *id)
                    .collect()
            })
            .collect();
        Ok(Self {
            name,
            about,
            prompts,
            prompt_mask,
        })
    }

    pub fn number(&self, keys: &[&str]) -> Option<f64> {
        keys.iter().find_map(|key| self.about[*key].as_f64())
    }

    pub fn count(&self, keys: &[&str]) -> Result<usize, Failed> {
        let value = keys.iter().find_map(|key| self.about[*key].as_u64());
        value
            .map(|n| n as usize)
            .ok_or_else(|| format!("the manifest gives no {}", keys.join(" or ")).into())
    }

    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.about[key].as_str()
    }

    /// Keys of the rows' random numbers; recorded runs draw none that depend on them.
    pub fn item_ids(&self) -> Vec<u64> {
        (0..self.prompts.len() as u64).collect()
    }

    pub fn sampling(&self, info: &ModelInfo) -> Sampling {
        Sampling {
            temperature: self.number(&["temperature"]).unwrap_or(0.0),
            top_p: self.number(&["top_p"]),
            // A run that names none gets what the reference sampler does then, which the engine
            // knows.
            top_k: self.number(&["top_k"]).map(|k| k as usize),
            rule: SamplingRule::of(info),
        }
    }

    /// The order plugin that the run names (`alg` for Dream, `remasking` for LLaDA) with its
    /// settings.
    pub fn remasker(&self, plugins: &Registry) -> Result<Remasker, Failed> {
        let (name, keys): (&str, &[&str]) = match (self.text("alg"), self.text("remasking")) {
            (Some(alg), _) => (alg, &["eps", "alg_temp"]),
            (None, Some(remasking)) => (remasking, &[]),
            (None, None) => return Err("the manifest names neither alg nor remasking".into()),
        };
        let config: Map<String, Value> = keys
            .iter()
            .filter_map(|key| {
                Some((
                    (*key).to_owned(),
                    self.about.get(*key).filter(|v| !v.is_null())?.clone(),
                ))
            })
            .collect();
        Ok(plugins.remasker(name, &Value::Object(config))?)
    }

    /// The recorded draws where the run has some: one for each eligible position (Dream) or for
    /// every position (LLaDA).
    pub fn order_draws(&self, tensors: &Tensors) -> Result<OrderDraws, Failed> {
        let key = format!("{}.draws", self.name);
        if !tensors.has(&key) {
            return Ok(OrderDraws::Counter);
        }
        let values = tensors
            .floats(&key)?
            .data
            .into_iter()
            .map(|v| v as f32)
            .collect();
        let layout = if self.text("alg").is_some() {
            DrawLayout::Eligible
        } else {
            DrawLayout::Everywhere
        };
        Ok(OrderDraws::Recorded { values, layout })
    }

    /// The scope plugin of a steered run: `all`, `masked`, or `top` with a number.
    pub fn steering_policy(
        &self,
        scope: &str,
        plugins: &Registry,
    ) -> Result<SteeringPolicy, Failed> {
        let (name, config) = match (
            scope,
            scope
                .strip_prefix("top")
                .and_then(|k| k.parse::<u64>().ok()),
        ) {
            ("all", _) => ("all-tokens", json!({})),
            ("masked", _) => ("update-tokens", json!({})),
            (_, Some(k)) => ("topk-tokens", json!({ "k": k })),
            _ => {
                let message = format!("steering scope {scope:?}: all, masked and topK are known");
                return Err(message.into());
            }
        };
        Ok(plugins.steering(name, &config)?)
    }

    /// Whether the run samples inside torch, so that only libtorch's own generator called in the
    /// same order could repeat it.
    pub fn needs_torch_rng(&self) -> bool {
        self.about["needs_torch_rng"].as_bool().unwrap_or(false)
    }

    /// The token that ends a row where the manifest gives one; the model's own otherwise.
    pub fn eos(&self) -> Option<Vec<i64>> {
        let eos = ["eos_token_id", "eos"]
            .iter()
            .find_map(|key| self.about.get(*key)?.as_i64())?;
        Some(vec![eos])
    }
}

/// Whether runs of this model denoise.
pub(super) fn denoises(info: &ModelInfo) -> bool {
    info.objective == Objective::MaskedDiffusion
}
