//! config.json and generation_config.json, both ways. Settings that change the arithmetic and are not implemented are
//! refused by name; everything else that is unknown is ignored.

use std::path::Path;

use serde_json::{Map, Value, json};
use tch::Kind;

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

    /// The contents of the family's config.json for weights stored as `kind`.
    pub fn to_json(&self, kind: Kind) -> Value {
        let mut value = match self.family {
            Family::Gpt2 => gpt2_json(self),
            Family::Llada => llada_json(self),
            Family::Dream | Family::Qwen2 | Family::Llama => llama_like_json(self),
        };
        if let Value::Object(map) = &mut value {
            let dtype = match kind {
                Kind::BFloat16 => "bfloat16",
                Kind::Half => "float16",
                _ => "float32",
            };
            map.insert("torch_dtype".to_owned(), json!(dtype));
            let eos = match self.special.eos[..] {
                [] => Value::Null,
                [id] => json!(id),
                _ => json!(self.special.eos),
            };
            for (key, id) in [
                ("bos_token_id", json!(self.special.bos)),
                ("eos_token_id", eos),
                ("pad_token_id", json!(self.special.pad)),
                ("mask_token_id", json!(self.special.mask)),
            ] {
                if !id.is_null() {
                    map.insert(key.to_owned(), id);
                }
            }
            map.sort_keys();
        }
        value
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

fn llama_like_json(config: &DecoderConfig) -> Value {
    let scaling = match config.rope.scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_positions,
        } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_positions,
        }),
    };
    let mut value = json!({
        "model_type": config.family.model_type(),
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": config.d_model,
        "initializer_range": 0.02,
        "intermediate_size": config.d_ff,
        "max_position_embeddings": config.max_positions,
        "num_attention_heads": config.n_heads,
        "num_hidden_layers": config.n_layers,
        "num_key_value_heads": config.n_kv_heads,
        "rms_norm_eps": config.norm_eps,
        "rope_scaling": scaling,
        "rope_theta": config.rope.theta,
        "tie_word_embeddings": config.tie_embeddings,
        "use_cache": true,
        "vocab_size": config.vocab_size,
    });
    let family = match config.family {
        Family::Llama => json!({
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": false,
            "mlp_bias": false,
            "pretraining_tp": 1,
        }),
        Family::Qwen2 => json!({
            "architectures": ["Qwen2ForCausalLM"],
            "max_window_layers": config.n_layers,
            "sliding_window": config.max_positions,
            "use_mrope": false,
            "use_sliding_window": false,
        }),
        _ => json!({
            "architectures": ["DreamModel"],
            "auto_map": { "AutoConfig": "configuration_dream.DreamConfig", "AutoModel": "modeling_dream.DreamModel" },
            "max_window_layers": config.n_layers,
            "sliding_window": Value::Null,
            "use_mrope": false,
            "use_sliding_window": false,
        }),
    };
    if let (Value::Object(value), Value::Object(family)) = (&mut value, family) {
        value.extend(family);
        if config.head_dim * config.n_heads != config.d_model {
            value.insert("head_dim".to_owned(), json!(config.head_dim));
        }
    }
    value
}

fn llada_json(config: &DecoderConfig) -> Value {
    json!({
        "architectures": ["LLaDAModelLM"],
        "auto_map": {
            "AutoConfig": "configuration_llada.LLaDAConfig",
            "AutoModel": "modeling_llada.LLaDAModelLM",
            "AutoModelForCausalLM": "modeling_llada.LLaDAModelLM",
        },
        "model_type": "llada",
        "activation_type": "silu",
        "alibi": false,
        "alibi_bias_max": 8.0,
        "attention_dropout": 0.0,
        "attention_layer_norm": false,
        "attention_layer_norm_with_affine": true,
        "bias_for_layer_norm": false,
        "block_group_size": 1,
        "block_type": "llama",
        "d_model": config.d_model,
        "embedding_dropout": 0.0,
        "embedding_size": config.vocab_size,
        "flash_attention": false,
        "include_bias": false,
        "include_qkv_bias": config.qkv_bias,
        "init_cutoff_factor": Value::Null,
        "init_device": "meta",
        "init_fn": "mitchell",
        "init_std": 0.02,
        "input_emb_norm": false,
        "layer_norm_type": "rms",
        "layer_norm_with_affine": true,
        "max_sequence_length": config.max_positions,
        "mlp_hidden_size": config.d_ff,
        "mlp_ratio": 4,
        "multi_query_attention": Value::Null,
        "n_heads": config.n_heads,
        "n_kv_heads": config.n_kv_heads,
        "n_layers": config.n_layers,
        "precision": "amp_bf16",
        "residual_dropout": 0.0,
        "rms_norm_eps": config.norm_eps,
        "rope": true,
        "rope_full_precision": config.rope.rotate_in_f32,
        "rope_theta": config.rope.theta,
        "scale_logits": false,
        "use_cache": false,
        "vocab_size": config.vocab_size,
        "weight_tying": config.tie_embeddings,
    })
}

fn gpt2_json(config: &DecoderConfig) -> Value {
    json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "attn_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "initializer_range": 0.02,
        "layer_norm_epsilon": config.norm_eps,
        "n_embd": config.d_model,
        "n_head": config.n_heads,
        "n_inner": config.d_ff,
        "n_layer": config.n_layers,
        "n_positions": config.max_positions,
        "resid_pdrop": 0.1,
        "vocab_size": config.vocab_size,
    })
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
