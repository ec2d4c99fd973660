//! Reads config.json and generation_config.json. Settings that change the arithmetic and are not implemented are refused
//! by name; everything else that is unknown is ignored.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::checkpoint::read_json;
use crate::config::{DecoderConfig, Family, RopeScaling, SpecialTokens};
use crate::{DecoderError, Result};

impl DecoderConfig {
    /// Reads a model folder's config.json, and the special tokens that only generation_config.json has.
    ///
    /// # Errors
    /// A missing or unreadable file, an unknown `model_type`, a missing field, an unsupported setting.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let mut config = Self::from_json(&path.display().to_string(), &parse(&path)?)?;
        let generation = folder.join("generation_config.json");
        if generation.exists() {
            let origin = generation.display().to_string();
            let value = parse(&generation)?;
            let fields = Fields::new(&origin, &value)?;
            config.special.add(&fields)?;
            config.validate(&origin)?;
        }
        Ok(config)
    }

    /// Reads the contents of a config.json; `origin` names it in errors.
    ///
    /// # Errors
    /// An unknown `model_type`, a missing field, an unsupported setting.
    pub fn from_json(origin: &str, value: &Value) -> Result<Self> {
        let fields = Fields::new(origin, value)?;
        let model_type = fields.string("model_type")?;
        let Some(family) = Family::from_model_type(&model_type) else {
            return Err(DecoderError::UnknownFamily {
                origin: origin.to_owned(),
                model_type,
                available: Family::available(),
            });
        };
        let mut config = match family {
            Family::Gpt2 => gpt2(&fields)?,
            Family::Llada => llada(&fields)?,
            Family::Dream | Family::Qwen2 | Family::Llama => llama_like(family, &fields)?,
        };
        config.special.add(&fields)?;
        config.validate(origin)?;
        Ok(config)
    }
}

impl SpecialTokens {
    /// Fills what is still unknown; end tokens are collected.
    fn add(&mut self, fields: &Fields) -> Result<()> {
        let one = |known: Option<i64>, key| match known {
            Some(id) => Ok(Some(id)),
            // Some published files write -1 for "none".
            None => fields
                .optional_integer(key)
                .map(|id| id.filter(|id| *id >= 0)),
        };
        self.mask = one(self.mask, "mask_token_id")?;
        self.pad = one(self.pad, "pad_token_id")?;
        self.bos = one(self.bos, "bos_token_id")?;
        for id in fields.integers("eos_token_id")? {
            if id >= 0 && !self.eos.contains(&id) {
                self.eos.push(id);
            }
        }
        Ok(())
    }
}

fn llama_like(family: Family, fields: &Fields) -> Result<DecoderConfig> {
    fields.only("hidden_act", &[json!("silu")])?;
    fields.only("use_sliding_window", &[json!(false)])?;
    fields.only("use_mrope", &[json!(false)])?;
    fields.only("attention_bias", &[json!(false)])?;
    fields.only("mlp_bias", &[json!(false)])?;
    let heads = fields.integer("num_attention_heads")?;
    let mut config = DecoderConfig::new(
        family,
        fields.integer("vocab_size")?,
        fields.integer("hidden_size")?,
        fields.integer("num_hidden_layers")?,
        heads,
    );
    config.n_kv_heads = fields
        .optional_integer("num_key_value_heads")?
        .unwrap_or(heads);
    config.head_dim = fields.head_dim(heads, config.d_model)?;
    config.d_ff = fields.integer("intermediate_size")?;
    config.norm_eps = fields.number("rms_norm_eps")?;
    config.max_positions = fields.integer("max_position_embeddings")?;
    config.tie_embeddings = fields.flag("tie_word_embeddings")?.unwrap_or(false);
    (config.rope.theta, config.rope.scaling) = rope(fields)?;
    Ok(config)
}

/// Older files have `rope_theta` and `rope_scaling`, newer ones `rope_parameters` with both.
fn rope(fields: &Fields) -> Result<(f64, RopeScaling)> {
    let both = fields.object("rope_parameters")?;
    let scaling = match &both {
        Some(both) => Some(Fields {
            origin: fields.origin,
            map: both.map,
        }),
        None => fields.object("rope_scaling")?,
    };
    let theta = match &both {
        Some(both) => both.number("rope_theta")?,
        None => fields.optional_number("rope_theta")?.unwrap_or(10_000.0),
    };
    let Some(scaling) = scaling else {
        return Ok((theta, RopeScaling::None));
    };
    let kind = match scaling.optional_string("rope_type")? {
        Some(kind) => kind,
        None => scaling
            .optional_string("type")?
            .unwrap_or_else(|| "default".to_owned()),
    };
    match kind.as_str() {
        "default" => Ok((theta, RopeScaling::None)),
        "llama3" => Ok((
            theta,
            RopeScaling::Llama3 {
                factor: scaling.number("factor")?,
                low_freq_factor: scaling.number("low_freq_factor")?,
                high_freq_factor: scaling.number("high_freq_factor")?,
                original_max_positions: scaling.integer("original_max_position_embeddings")?,
            },
        )),
        other => Err(fields.error(format!(
            "rope scaling \"{other}\" is not implemented; available: default, llama3"
        ))),
    }
}

fn llada(fields: &Fields) -> Result<DecoderConfig> {
    fields.only("block_type", &[json!("llama")])?;
    fields.only("layer_norm_type", &[json!("rms")])?;
    fields.only("activation_type", &[json!("silu")])?;
    fields.only("rope", &[json!(true)])?;
    fields.only("block_group_size", &[json!(1)])?;
    for key in [
        "alibi",
        "attention_layer_norm",
        "include_bias",
        "bias_for_layer_norm",
        "input_emb_norm",
        "scale_logits",
    ] {
        fields.only(key, &[json!(false)])?;
    }
    let (d_model, heads) = (fields.integer("d_model")?, fields.integer("n_heads")?);
    let vocab = fields.integer("vocab_size")?;
    // The matrices have `embedding_size` rows where it is set; ids beyond `vocab_size` are unused.
    let rows = fields.optional_integer("embedding_size")?.unwrap_or(vocab);
    let mut config = DecoderConfig::new(
        Family::Llada,
        rows,
        d_model,
        fields.integer("n_layers")?,
        heads,
    );
    let multi_query = fields.flag("multi_query_attention")?.unwrap_or(false);
    config.n_kv_heads = match fields.optional_integer("n_kv_heads")? {
        Some(n) => n,
        None if multi_query => 1,
        None => heads,
    };
    config.d_ff = match fields.optional_integer("mlp_hidden_size")? {
        Some(width) => width,
        None => fields.integer("mlp_ratio")?.saturating_mul(d_model),
    };
    config.norm_eps = fields.number("rms_norm_eps")?;
    config.max_positions = fields.integer("max_sequence_length")?;
    config.rope.theta = fields.optional_number("rope_theta")?.unwrap_or(10_000.0);
    config.rope.rotate_in_f32 = fields.flag("rope_full_precision")?.unwrap_or(true);
    config.qkv_bias = fields.flag("include_qkv_bias")?.unwrap_or(false);
    config.tie_embeddings = fields.flag("weight_tying")?.unwrap_or(true);
    Ok(config)
}

fn gpt2(fields: &Fields) -> Result<DecoderConfig> {
    fields.only("activation_function", &[json!("gelu_new")])?;
    fields.only("scale_attn_weights", &[json!(true)])?;
    fields.only("scale_attn_by_inverse_layer_idx", &[json!(false)])?;
    fields.only("add_cross_attention", &[json!(false)])?;
    fields.only("tie_word_embeddings", &[json!(true)])?;
    let d_model = fields.integer("n_embd")?;
    let mut config = DecoderConfig::new(
        Family::Gpt2,
        fields.integer("vocab_size")?,
        d_model,
        fields.integer("n_layer")?,
        fields.integer("n_head")?,
    );
    config.d_ff = fields
        .optional_integer("n_inner")?
        .unwrap_or(d_model.saturating_mul(4));
    config.norm_eps = fields
        .optional_number("layer_norm_epsilon")?
        .unwrap_or(1e-5);
    config.max_positions = fields.integer("n_positions")?;
    Ok(config)
}

fn parse(path: &Path) -> Result<Value> {
    let origin = path.display().to_string();
    serde_json::from_str(&read_json(path)?)
        .map_err(|error| DecoderError::config(origin, format!("not JSON: {error}")))
}

/// A JSON object with the file it came from.
struct Fields<'a> {
    origin: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn new(origin: &'a str, value: &'a Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { origin, map }),
            _ => Err(DecoderError::config(origin, "expected a JSON object")),
        }
    }

    fn error(&self, message: String) -> DecoderError {
        DecoderError::config(self.origin, message)
    }

    /// The value of a key, if it is there and not null.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn required<T>(&self, key: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.error(format!("{key} is missing")))
    }

    fn optional<T>(
        &self,
        key: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        read(value)
            .map(Some)
            .ok_or_else(|| self.error(format!("{key} is {value}, expected {what}")))
    }

    fn optional_integer(&self, key: &str) -> Result<Option<i64>> {
        self.optional(key, "an integer", Value::as_i64)
    }

    fn integer(&self, key: &str) -> Result<i64> {
        self.required(key, self.optional_integer(key)?)
    }

    fn optional_number(&self, key: &str) -> Result<Option<f64>> {
        self.optional(key, "a number", Value::as_f64)
    }

    fn number(&self, key: &str) -> Result<f64> {
        self.required(key, self.optional_number(key)?)
    }

    fn optional_string(&self, key: &str) -> Result<Option<String>> {
        self.optional(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    fn string(&self, key: &str) -> Result<String> {
        self.required(key, self.optional_string(key)?)
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.optional(key, "true or false", Value::as_bool)
    }

    fn object(&self, key: &str) -> Result<Option<Fields<'a>>> {
        let map = self.optional(key, "an object", Value::as_object)?;
        Ok(map.map(|map| Fields {
            origin: self.origin,
            map,
        }))
    }

    /// One integer or a list of them; nothing is an empty list.
    fn integers(&self, key: &str) -> Result<Vec<i64>> {
        let read = |value: &Value| match value {
            Value::Array(items) => items.iter().map(Value::as_i64).collect(),
            one => one.as_i64().map(|id| vec![id]),
        };
        Ok(self
            .optional(key, "an integer or a list of integers", read)?
            .unwrap_or_default())
    }

    fn head_dim(&self, heads: i64, d_model: i64) -> Result<i64> {
        match self.optional_integer("head_dim")? {
            Some(width) => Ok(width),
            None if heads > 0 && d_model % heads == 0 => Ok(d_model / heads),
            None => Err(self.error(format!(
                "hidden_size {d_model} is not a multiple of {heads} heads"
            ))),
        }
    }

    /// Refuses a setting that is present with another value than those implemented.
    fn only(&self, key: &str, implemented: &[Value]) -> Result<()> {
        match self.get(key) {
            Some(value) if !implemented.contains(value) => {
                let list = implemented
                    .iter()
                    .map(Value::to_string)
                    .collect::<Vec<_>>()
                    .join(", ");
                Err(self.error(format!(
                    "{key} = {value} is not implemented; implemented: {list}"
                )))
            }
            _ => Ok(()),
        }
    }
}
