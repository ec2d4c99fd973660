//! Writes config.json with the keys that the families' Python libraries read.

use crate::config_json::default_size;
use serde_json::{Value, json};
use tch::Kind;

use crate::config::{Activation, DecoderConfig, Family, RopeScaling};

impl DecoderConfig {
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
                // What is left out would be read as the family's default.
                if !id.is_null() || default_size(self.family.model_type(), key).is_some() {
                    map.insert(key.to_owned(), id);
                }
            }
            map.sort_keys();
        }
        value
    }
}

fn llama_like_json(config: &DecoderConfig) -> Value {
    let mut value = json!({
        "model_type": config.family.model_type(),
        "attention_dropout": 0.0,
        "hidden_act": activation(config),
        "hidden_size": config.d_model,
        "initializer_range": 0.02,
        "intermediate_size": config.d_ff,
        "max_position_embeddings": max_positions(config),
        "num_attention_heads": config.n_heads,
        "num_hidden_layers": config.n_layers,
        "num_key_value_heads": config.n_kv_heads,
        "rms_norm_eps": config.norm_eps,
        "rope_scaling": scaling(config),
        "rope_theta": config.rope.theta,
        "tie_word_embeddings": config.tie_embeddings,
        "use_cache": true,
        "vocab_size": config.vocab_size,
    });
    let family = match config.family {
        Family::Llama => json!({
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": config.qkv_bias,
            "mlp_bias": config.mlp_bias,
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
        "activation_type": activation(config),
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
    let mut value = json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": activation(config),
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
    });
    // The published files leave out what is as usual.
    for (key, value_of, usual) in [
        ("tie_word_embeddings", config.tie_embeddings, true),
        ("scale_attn_weights", config.scores.by_head_dim, true),
        (
            "scale_attn_by_inverse_layer_idx",
            config.scores.by_layer,
            false,
        ),
    ] {
        if value_of != usual {
            value[key] = json!(value_of);
        }
    }
    value
}

fn activation(config: &DecoderConfig) -> &'static str {
    match config.activation {
        Activation::Silu => "silu",
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_new",
        Activation::QuickGelu => "quick_gelu",
        Activation::Relu => "relu",
    }
}

fn scaling(config: &DecoderConfig) -> Value {
    match config.rope.scaling {
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
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Dynamic { factor, .. } => json!({ "rope_type": "dynamic", "factor": factor }),
        RopeScaling::Yarn(yarn) => json!({
            "rope_type": "yarn",
            "factor": yarn.factor,
            "original_max_position_embeddings": yarn.original_max_positions,
            "attention_factor": yarn.attention_factor,
            "beta_fast": yarn.beta_fast,
            "beta_slow": yarn.beta_slow,
            "truncate": yarn.truncate,
        }),
    }
}

/// `max_position_embeddings`, from which a reader computes the same longest context again.
fn max_positions(config: &DecoderConfig) -> i64 {
    match config.rope.scaling {
        RopeScaling::Dynamic {
            original_max_positions,
            ..
        } => original_max_positions,
        RopeScaling::Linear { factor } => {
            (config.max_positions as f64 / factor.max(1.0)).ceil() as i64
        }
        _ => config.max_positions,
    }
}
