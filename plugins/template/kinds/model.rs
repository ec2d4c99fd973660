//! A model family: a causal model without weights, on slices.
//!
//! With torch, depend on harness-sdk with `features = ["tch"]`, use `View::tensor` and
//! `ViewMut::write`, and name the version of libtorch in plugin.toml and in `export_plugin!`.
//!
//! The host drives the model in segments and changes the residual between them. So any split of the
//! blocks must give the same bits as one call, rows of a batch must not influence each other, and
//! padding must not change valid positions. `model_types` in plugin.toml names the `model_type`s of
//! config.json that are this family's.

use std::{fs, path::Path};

use harness_sdk::{
    Attention, CacheMode, DType, Device, Error, Forward, LoadRequest, ModelAdapter, ModelInfo,
    Objective, Result, Value, View, ViewMut,
};

/// What config.json must say.
const MODEL_TYPE: &str = "template";
/// Share of the past that a block mixes in.
const MIX: f32 = 0.25;

struct Adapter {
    info: Option<ModelInfo>,
}

impl ModelAdapter for Adapter {
    fn new(_name: &str, config: &Value) -> Result<Self> {
        if config.as_object().is_none_or(|keys| !keys.is_empty()) {
            return Err(Error::config(format!(
                "this family takes no settings, not {config}"
            )));
        }
        Ok(Self { info: None })
    }

    fn inspect(&self, dir: &Path) -> Result<ModelInfo> {
        let path = dir.join("config.json");
        let text = fs::read_to_string(&path)
            .map_err(|error| Error::input(format!("{}: {error}", path.display())))?;
        let config: Value = serde_json::from_str(&text)
            .map_err(|error| Error::input(format!("{}: {error}", path.display())))?;
        if config["model_type"] != MODEL_TYPE {
            return Err(Error::input(format!(
                "config.json is of model_type {}, not `{MODEL_TYPE}`",
                config["model_type"]
            )));
        }
        let size = |key: &str| {
            let value = config[key].as_u64().filter(|&value| value > 0);
            let value = value.and_then(|value| usize::try_from(value).ok());
            value.ok_or_else(|| Error::input(format!("config.json: `{key}` is {}", config[key])))
        };
        Ok(ModelInfo {
            family: MODEL_TYPE.to_owned(),
            objective: Objective::AUTOREGRESSIVE,
            attention: Attention::CAUSAL,
            logit_offset: 1,
            n_layers: size("num_hidden_layers")?,
            d_model: size("hidden_size")?,
            vocab_size: size("vocab_size")?,
            max_positions: size("max_position_embeddings")?,
            n_params: 0,
            mask_token_id: None,
            pad_token_id: None,
            bos_token_id: None,
            eos_token_ids: Vec::new(),
            stored_dtype: DType::F32,
        })
    }

    fn load(&mut self, request: &LoadRequest) -> Result<ModelInfo> {
        if request.device != Device::CPU || request.dtype != DType::F32 {
            return Err(Error::unsupported(format!(
                "{:?} on {:?}",
                request.dtype, request.device
            )));
        }
        let info = self.inspect(&request.dir)?;
        self.info = Some(info.clone());
        Ok(info)
    }

    fn begin(&mut self, attention_mask: View<'_>, cache: CacheMode) -> Result<Box<dyn Forward>> {
        let info = self.info.as_ref();
        let info = info.ok_or_else(|| Error::invalid("the model is not loaded"))?;
        if cache != CacheMode::OFF {
            return Err(Error::unsupported("a cache of keys and values"));
        }
        let capacity = usize::try_from(attention_mask.shape()[1])?;
        if capacity > info.max_positions {
            return Err(Error::invalid(format!(
                "{capacity} positions, the model has {}",
                info.max_positions
            )));
        }
        Ok(Box::new(Pass {
            d: info.d_model,
            n_layers: info.n_layers,
            vocab_size: info.vocab_size,
            capacity,
            is_valid: attention_mask.u8()?.to_vec(),
        }))
    }

    fn memory_estimate(&self, b: usize, t: usize) -> Result<u64> {
        let d = self.info.as_ref().map_or(0, |info| info.d_model);
        Ok((b * t * d * size_of::<f32>()) as u64)
    }
}

struct Pass {
    d: usize,
    n_layers: usize,
    vocab_size: usize,
    capacity: usize,
    /// `[b, capacity]`
    is_valid: Vec<u8>,
}

impl Pass {
    /// A fixed, arbitrary number for a token and a dimension, in [-1, 1].
    fn weight(token: usize, i: usize) -> f32 {
        ((token * 31 + i * 17) % 97) as f32 / 48.0 - 1.0
    }

    fn logits(&self, row: &[f32]) -> Vec<f32> {
        (0..self.vocab_size)
            .map(|token| (0..self.d).map(|i| row[i] * Self::weight(token, i)).sum())
            .collect()
    }
}

impl Forward for Pass {
    fn embed(&mut self, tokens: View<'_>, start: usize, resid: &mut ViewMut<'_>) -> Result<()> {
        if start != 0 {
            return Err(Error::invalid(format!("columns from {start} on, not 0")));
        }
        let out = resid.f32()?;
        for (row, &token) in out.chunks_exact_mut(self.d).zip(tokens.i64()?) {
            let token = usize::try_from(token)
                .ok()
                .filter(|&token| token < self.vocab_size)
                .ok_or_else(|| {
                    Error::invalid(format!(
                        "token {token} out of range: the vocabulary has {}",
                        self.vocab_size
                    ))
                })?;
            for (i, out) in row.iter_mut().enumerate() {
                *out = Self::weight(token, i);
            }
        }
        Ok(())
    }

    fn blocks(&mut self, first: usize, last: usize, resid: &mut ViewMut<'_>) -> Result<()> {
        if first > last || last > self.n_layers {
            return Err(Error::invalid(format!(
                "blocks {first}..{last} out of range: the model has {}",
                self.n_layers
            )));
        }
        let (t, d) = (usize::try_from(resid.shape()[1])?, self.d);
        if t > self.capacity || usize::try_from(resid.shape()[2])? != d {
            return Err(Error::invalid(format!(
                "a residual of shape {:?}",
                resid.shape()
            )));
        }
        let b = self.is_valid.len() / self.capacity.max(1);
        let resid = resid.f32()?; // [n·b, t, d]
        for _ in first..last {
            for (r, row) in resid.chunks_exact_mut(t * d).enumerate() {
                let mut past = vec![0.0_f32; d];
                let mut seen = 0.0_f32;
                for (position, x) in row.chunks_exact_mut(d).enumerate() {
                    // Row r belongs to row r % b of the batch; padding is not looked at.
                    if self.is_valid[(r % b) * self.capacity + position] == 0 {
                        continue;
                    }
                    for (x, past) in x.iter_mut().zip(&mut past) {
                        let own = *x;
                        *x += MIX * *past / (1.0 + seen);
                        *past += own;
                    }
                    seen += 1.0;
                }
            }
        }
        Ok(())
    }

    fn final_norm(&mut self, rows: View<'_>, out: &mut ViewMut<'_>) -> Result<()> {
        out.f32()?.copy_from_slice(rows.f32()?);
        Ok(())
    }

    fn unembed(&mut self, rows: View<'_>, logits: &mut ViewMut<'_>) -> Result<()> {
        let out = logits.f32()?.chunks_exact_mut(self.vocab_size);
        for (row, out) in rows.f32()?.chunks_exact(self.d).zip(out) {
            out.copy_from_slice(&self.logits(row));
        }
        Ok(())
    }
}

harness_sdk::export_plugin! {
    id: "template",
    components: [ model "template" => Adapter: "a causal model without weights" ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(splits: &[usize]) -> Vec<f32> {
        let mut pass = Pass {
            d: 4,
            n_layers: 3,
            vocab_size: 11,
            capacity: 3,
            is_valid: vec![0, 1, 1],
        };
        let mut resid = [0.0; 12];
        let tokens = [0, 5, 7];
        let mut view = ViewMut::of_f32(&mut resid, &[1, 3, 4]).unwrap();
        pass.embed(View::of_i64(&tokens, &[1, 3]).unwrap(), 0, &mut view)
            .unwrap();
        for pair in splits.windows(2) {
            pass.blocks(pair[0], pair[1], &mut view).unwrap();
        }
        resid.to_vec()
    }

    #[test]
    fn any_split_gives_the_same_bits() {
        assert_eq!(run(&[0, 3]), run(&[0, 1, 2, 3]));
        assert_ne!(run(&[0, 3]), run(&[0, 2]));
    }
}
