//! Reads config.json and generation_config.json. Settings that change the arithmetic and are not
//! implemented are refused by name; everything else that is unknown is ignored. What a file leaves
//! out is what the family's own configuration code takes.

mod defaults;
mod fields;
mod rope;
mod window;

use std::path::Path;

use harness_weights::read_text;
use serde_json::{Value, json};

use crate::config::{Activation, DecoderConfig, Family, Objective, ScoreScale, SpecialTokens};
use crate::{DecoderError, Result};
use fields::Fields;

pub use defaults::default_size;

/// Largest JSON file of settings read from a model folder.
const MAX_JSON_BYTES: u64 = 4 << 20;

impl DecoderConfig {
    /// Reads a model folder's config.json, and the special tokens that only generation_config.json
    /// has.
    ///
    /// # Errors
    /// A folder that is no checkpoint, a missing or unreadable file, an unknown `model_type`, a
    /// missing field, an unsupported setting.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        harness_weights::check_folder(folder)?;
        let path = folder.join("config.json");
        let value = parse(&path)?;
        let mut config = Self::from_json(&path.display().to_string(), &value)?;
        let generation = folder.join("generation_config.json");
        if generation.exists() {
            let origin = generation.display().to_string();
            let value = parse(&generation)?;
            config.special.add(&Fields::new(&origin, &value)?)?;
            config.drop_unusable_ids();
            config.validate(&origin)?;
        } else if value.get("eos_token_id").is_none() {
            let default = default_size(config.family.model_type(), "eos_token_id");
            let id = default.and_then(|id| i64::try_from(id).ok());
            config.special.eos.extend(id);
            config.drop_unusable_ids();
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
        if config.special.mask.is_none() && !fields.has("mask_token_id") {
            let default = default_size(&model_type, "mask_token_id");
            let default = default.and_then(|id| i64::try_from(id).ok());
            config.special.mask = default.filter(|id| *id < config.vocab_size);
        }
        config.drop_unusable_ids();
        config.validate(origin)?;
        Ok(config)
    }

    /// Takes out ids that no row of the vocabulary has: no text can hold them, so none is needed.
    /// A diffusion model's mask stays, since nothing goes without it.
    fn drop_unusable_ids(&mut self) {
        let is_row = |id: &i64| *id < self.vocab_size;
        self.special.pad = self.special.pad.filter(is_row);
        self.special.bos = self.special.bos.filter(is_row);
        self.special.eos.retain(is_row);
        if self.family.objective() == Objective::Autoregressive {
            self.special.mask = self.special.mask.filter(is_row);
        }
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

fn parse(path: &Path) -> Result<Value> {
    serde_json::from_str(&read_text(path, MAX_JSON_BYTES)?).map_err(|error| {
        DecoderError::config(path.display().to_string(), format!("not JSON: {error}"))
    })
}

fn llama_like(family: Family, fields: &Fields) -> Result<DecoderConfig> {
    let model_type = family.model_type();
    fields.only("use_mrope", json!(false), json!(false))?;
    let size = |key: &str| fields.size(model_type, key);
    let heads = size("num_attention_heads")?;
    let mut config = DecoderConfig::new(
        family,
        size("vocab_size")?,
        size("hidden_size")?,
        size("num_hidden_layers")?,
        heads,
    );
    config.n_kv_heads = match fields.has("num_key_value_heads") || family == Family::Llama {
        true => fields
            .optional_integer("num_key_value_heads")?
            .unwrap_or(heads),
        false => size("num_key_value_heads")?,
    };
    config.head_dim = fields.head_dim(heads, config.d_model)?;
    config.d_ff = size("intermediate_size")?;
    config.activation = activation(fields, "hidden_act", "silu")?;
    config.norm_eps = fields.number_or("rms_norm_eps", 1e-6)?;
    config.tie_embeddings = fields.flag_or("tie_word_embeddings", false)?;
    // Qwen2 and Dream have biases on three projections and none elsewhere, whatever the file says.
    if family == Family::Llama {
        config.qkv_bias = fields.flag_or("attention_bias", false)?;
        config.o_bias = config.qkv_bias;
        config.mlp_bias = fields.flag_or("mlp_bias", false)?;
    }
    let rope = rope::read(fields, size("max_position_embeddings")?)?;
    (config.rope.theta, config.rope.scaling) = (rope.theta, rope.scaling);
    config.max_positions = rope.max_positions;
    // LLaMA's class has no windows, but transformers' caches of keys and values follow the fields.
    window::check(fields, model_type, config.n_layers, config.max_positions)?;
    Ok(config)
}

/// Activation of the MLP. The names that are joined here differ in how they compute one function.
fn activation(fields: &Fields, key: &str, default: &str) -> Result<Activation> {
    let name = fields.optional_string(key)?;
    Ok(match name.as_deref().unwrap_or(default) {
        "silu" | "swish" => Activation::Silu,
        "gelu" | "gelu_python" => Activation::Gelu,
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_accurate" => {
            Activation::GeluTanh
        }
        "quick_gelu" => Activation::QuickGelu,
        "relu" => Activation::Relu,
        other => {
            return Err(fields.error(format!(
                "{key} \"{other}\" is not implemented; implemented: silu, swish, relu, gelu, \
                 gelu_new, gelu_fast, gelu_pytorch_tanh, gelu_accurate, quick_gelu"
            )));
        }
    })
}

/// LLaDA. Defaults are those of its published configuration code, most of which no published model
/// has: a file that leaves them out describes another model.
fn llada(fields: &Fields) -> Result<DecoderConfig> {
    for (key, implemented, default) in [
        ("block_type", json!("llama"), json!("sequential")),
        ("layer_norm_type", json!("rms"), json!("default")),
        ("rope", json!(true), json!(false)),
        ("block_group_size", json!(1), json!(1)),
        ("layer_norm_with_affine", json!(true), json!(true)),
        ("alibi", json!(false), json!(false)),
        ("attention_layer_norm", json!(false), json!(false)),
        ("include_bias", json!(false), json!(false)),
        ("bias_for_layer_norm", json!(false), json!(false)),
        ("input_emb_norm", json!(false), json!(false)),
        ("scale_logits", json!(false), json!(false)),
    ] {
        fields.only(key, implemented, default)?;
    }
    if fields.object("rope_scaling")?.is_some() {
        return Err(fields.error("rope_scaling is not what LLaDA has".to_owned()));
    }
    let size = |key: &str| fields.size("llada", key);
    let (d_model, heads) = (size("d_model")?, size("n_heads")?);
    // The matrices have `embedding_size` rows where it is set; ids beyond `vocab_size` are unused.
    let rows = match fields.has("embedding_size") && fields.get("embedding_size").is_none() {
        true => size("vocab_size")?,
        false => size("embedding_size")?,
    };
    let mut config = DecoderConfig::new(Family::Llada, rows, d_model, size("n_layers")?, heads);
    let multi_query = fields.flag_or("multi_query_attention", false)?;
    config.n_kv_heads = match fields.optional_integer("n_kv_heads")? {
        Some(n) => n,
        None if multi_query => 1,
        None => heads,
    };
    config.d_ff = match fields.optional_integer("mlp_hidden_size")? {
        Some(width) => width,
        None => size("mlp_ratio")?.saturating_mul(d_model),
    };
    config.activation = activation(fields, "activation_type", "swiglu")?;
    config.norm_eps = fields.number_or("rms_norm_eps", 1e-5)?;
    config.max_positions = size("max_sequence_length")?;
    config.rope.theta = fields.number_or("rope_theta", 10_000.0)?;
    config.rope.rotate_in_f32 = fields.flag_or("rope_full_precision", true)?;
    config.qkv_bias = fields.flag_or("include_qkv_bias", false)?;
    config.tie_embeddings = fields.flag_or("weight_tying", true)?;
    Ok(config)
}

/// GPT-2, whose sizes may go by the names that transformers has for all families.
fn gpt2(fields: &Fields) -> Result<DecoderConfig> {
    fields.only("add_cross_attention", json!(false), json!(false))?;
    let size = |key: &str, common: &str| match fields.optional_integer(common)? {
        Some(size) => Ok(size),
        None => fields.size("gpt2", key),
    };
    let d_model = size("n_embd", "hidden_size")?;
    let mut config = DecoderConfig::new(
        Family::Gpt2,
        size("vocab_size", "vocab_size")?,
        d_model,
        size("n_layer", "num_hidden_layers")?,
        size("n_head", "num_attention_heads")?,
    );
    config.d_ff = fields
        .optional_integer("n_inner")?
        .unwrap_or(d_model.saturating_mul(4));
    config.activation = activation(fields, "activation_function", "gelu_new")?;
    config.norm_eps = fields.number_or("layer_norm_epsilon", 1e-5)?;
    config.max_positions = size("n_positions", "max_position_embeddings")?;
    config.tie_embeddings = fields.flag_or("tie_word_embeddings", true)?;
    config.scores = ScoreScale {
        by_head_dim: fields.flag_or("scale_attn_weights", true)?,
        by_layer: fields.flag_or("scale_attn_by_inverse_layer_idx", false)?,
    };
    Ok(config)
}
