//! The names, shapes and first values of a family's parameters, in the layout of its public
//! checkpoints.

use crate::config::{DecoderConfig, Family};

/// How a parameter starts when a model is trained from nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Normal with mean 0.
    Normal { std_dev: f64 },
    /// All ones: the weight of a norm.
    Ones,
    /// All zeros: a bias.
    Zeros,
}

/// One parameter of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// Name in the checkpoint.
    pub name: String,
    /// Shape in the checkpoint.
    pub shape: Vec<i64>,
    /// First value for training.
    pub initial: Initial,
    pub(crate) slot: Slot,
}

/// The place of a parameter in the model; `block` is set for those of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) block: Option<i64>,
    pub(crate) role: Role,
}

impl Slot {
    pub(crate) fn model(role: Role) -> Self {
        Self { block: None, role }
    }

    pub(crate) fn block(block: i64, role: Role) -> Self {
        Self {
            block: Some(block),
            role,
        }
    }
}

/// What a parameter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Embed,
    EmbedPositions,
    AttnNorm,
    AttnNormBias,
    Q,
    QBias,
    K,
    KBias,
    V,
    VBias,
    Qkv,
    QkvBias,
    O,
    OBias,
    MlpNorm,
    MlpNormBias,
    Gate,
    GateBias,
    Up,
    UpBias,
    Down,
    DownBias,
    FinalNorm,
    FinalNormBias,
    Head,
}

/// Every parameter of a model, in the order embedding, blocks, final norm, head.
pub fn parameters(config: &DecoderConfig) -> Vec<ParameterSpec> {
    match config.family {
        Family::Gpt2 => gpt2_parameters(config),
        _ => decoder_parameters(config),
    }
}

impl DecoderConfig {
    /// Number of parameters, the tied head counted once.
    pub fn n_params(&self) -> i64 {
        parameters(self)
            .iter()
            .map(|spec| spec.shape.iter().product::<i64>())
            .sum()
    }
}

const STD_DEV: f64 = 0.02;

struct List {
    specs: Vec<ParameterSpec>,
    family: Family,
}

impl List {
    fn push(&mut self, slot: Slot, shape: &[i64], initial: Initial) {
        let name = name(self.family, slot);
        self.specs.push(ParameterSpec {
            name,
            shape: shape.to_vec(),
            initial,
            slot,
        });
    }
}

fn decoder_parameters(config: &DecoderConfig) -> Vec<ParameterSpec> {
    let (d, ff, v) = (config.d_model, config.d_ff, config.vocab_size);
    let (q, kv) = (
        config.n_heads * config.head_dim,
        config.n_kv_heads * config.head_dim,
    );
    let (weight, residual) = initials(config);
    let mut list = List {
        specs: Vec::new(),
        family: config.family,
    };
    list.push(Slot::model(Role::Embed), &[v, d], weight);
    for block in 0..config.n_layers {
        let at = |role| Slot::block(block, role);
        list.push(at(Role::AttnNorm), &[d], Initial::Ones);
        for (role, bias, width) in [
            (Role::Q, Role::QBias, q),
            (Role::K, Role::KBias, kv),
            (Role::V, Role::VBias, kv),
        ] {
            list.push(at(role), &[width, d], weight);
            if config.qkv_bias {
                list.push(at(bias), &[width], Initial::Zeros);
            }
        }
        list.push(at(Role::O), &[d, q], residual);
        if config.o_bias {
            list.push(at(Role::OBias), &[d], Initial::Zeros);
        }
        list.push(at(Role::MlpNorm), &[d], Initial::Ones);
        for (role, bias, shape, initial) in [
            (Role::Gate, Role::GateBias, [ff, d], weight),
            (Role::Up, Role::UpBias, [ff, d], weight),
            (Role::Down, Role::DownBias, [d, ff], residual),
        ] {
            list.push(at(role), &shape, initial);
            if config.mlp_bias {
                list.push(at(bias), &shape[..1], Initial::Zeros);
            }
        }
    }
    list.push(Slot::model(Role::FinalNorm), &[d], Initial::Ones);
    if !config.tie_embeddings {
        list.push(Slot::model(Role::Head), &[v, d], weight);
    }
    list.specs
}

/// GPT-2 stores its projections as [in, out].
fn gpt2_parameters(config: &DecoderConfig) -> Vec<ParameterSpec> {
    let (d, ff) = (config.d_model, config.d_ff);
    let (weight, residual) = initials(config);
    let mut list = List {
        specs: Vec::new(),
        family: config.family,
    };
    list.push(Slot::model(Role::Embed), &[config.vocab_size, d], weight);
    list.push(
        Slot::model(Role::EmbedPositions),
        &[config.max_positions, d],
        weight,
    );
    for block in 0..config.n_layers {
        let at = |role| Slot::block(block, role);
        list.push(at(Role::AttnNorm), &[d], Initial::Ones);
        list.push(at(Role::AttnNormBias), &[d], Initial::Zeros);
        list.push(at(Role::Qkv), &[d, 3 * d], weight);
        list.push(at(Role::QkvBias), &[3 * d], Initial::Zeros);
        list.push(at(Role::O), &[d, d], residual);
        list.push(at(Role::OBias), &[d], Initial::Zeros);
        list.push(at(Role::MlpNorm), &[d], Initial::Ones);
        list.push(at(Role::MlpNormBias), &[d], Initial::Zeros);
        list.push(at(Role::Up), &[d, ff], weight);
        list.push(at(Role::UpBias), &[ff], Initial::Zeros);
        list.push(at(Role::Down), &[ff, d], residual);
        list.push(at(Role::DownBias), &[d], Initial::Zeros);
    }
    list.push(Slot::model(Role::FinalNorm), &[d], Initial::Ones);
    list.push(Slot::model(Role::FinalNormBias), &[d], Initial::Zeros);
    if !config.tie_embeddings {
        list.push(Slot::model(Role::Head), &[config.vocab_size, d], weight);
    }
    list.specs
}

/// Weights start at 0.02; projections back into the residual stream are smaller by sqrt(2
/// n_layers), so that the stream keeps its scale over the blocks.
fn initials(config: &DecoderConfig) -> (Initial, Initial) {
    let residual = STD_DEV / (2.0 * config.n_layers as f64).sqrt();
    (
        Initial::Normal { std_dev: STD_DEV },
        Initial::Normal { std_dev: residual },
    )
}

/// Names under which a family's files keep the embedding and the output head.
pub(crate) fn ends(family: Family) -> [String; 2] {
    [Role::Embed, Role::Head].map(|role| name(family, Slot::model(role)))
}

fn name(family: Family, slot: Slot) -> String {
    let (prefix, tail) = match family {
        Family::Llada => ("model.transformer.blocks", llada_name(slot.role)),
        Family::Gpt2 => ("h", gpt2_name(slot.role)),
        Family::Dream | Family::Qwen2 | Family::Llama => ("model.layers", llama_name(slot.role)),
    };
    match slot.block {
        Some(block) => format!("{prefix}.{block}.{tail}"),
        None => tail.to_owned(),
    }
}

/// Names of Dream, Qwen2 and LLaMA. Roles that a family lacks are never asked for.
fn llama_name(role: Role) -> &'static str {
    match role {
        Role::Embed | Role::EmbedPositions => "model.embed_tokens.weight",
        Role::AttnNorm | Role::AttnNormBias => "input_layernorm.weight",
        Role::Q | Role::Qkv => "self_attn.q_proj.weight",
        Role::QBias | Role::QkvBias => "self_attn.q_proj.bias",
        Role::K => "self_attn.k_proj.weight",
        Role::KBias => "self_attn.k_proj.bias",
        Role::V => "self_attn.v_proj.weight",
        Role::VBias => "self_attn.v_proj.bias",
        Role::O => "self_attn.o_proj.weight",
        Role::OBias => "self_attn.o_proj.bias",
        Role::MlpNorm | Role::MlpNormBias => "post_attention_layernorm.weight",
        Role::Gate => "mlp.gate_proj.weight",
        Role::GateBias => "mlp.gate_proj.bias",
        Role::Up => "mlp.up_proj.weight",
        Role::UpBias => "mlp.up_proj.bias",
        Role::Down => "mlp.down_proj.weight",
        Role::DownBias => "mlp.down_proj.bias",
        Role::FinalNorm | Role::FinalNormBias => "model.norm.weight",
        Role::Head => "lm_head.weight",
    }
}

/// Names of LLaDA. In its MLP `ff_proj` is the gate (the activated half).
fn llada_name(role: Role) -> &'static str {
    match role {
        Role::Embed => "model.transformer.wte.weight",
        Role::AttnNorm => "attn_norm.weight",
        Role::Q => "q_proj.weight",
        Role::QBias => "q_proj.bias",
        Role::K => "k_proj.weight",
        Role::KBias => "k_proj.bias",
        Role::V => "v_proj.weight",
        Role::VBias => "v_proj.bias",
        Role::O => "attn_out.weight",
        Role::MlpNorm => "ff_norm.weight",
        Role::Gate => "ff_proj.weight",
        Role::Up => "up_proj.weight",
        Role::Down => "ff_out.weight",
        Role::FinalNorm => "model.transformer.ln_f.weight",
        Role::Head => "model.transformer.ff_out.weight",
        other => llama_name(other),
    }
}

/// Names of the public GPT-2 file; other copies put `transformer.` in front, which the reader takes
/// off.
fn gpt2_name(role: Role) -> &'static str {
    match role {
        Role::Embed => "wte.weight",
        Role::EmbedPositions => "wpe.weight",
        Role::AttnNorm => "ln_1.weight",
        Role::AttnNormBias => "ln_1.bias",
        Role::Qkv => "attn.c_attn.weight",
        Role::QkvBias => "attn.c_attn.bias",
        Role::O => "attn.c_proj.weight",
        Role::OBias => "attn.c_proj.bias",
        Role::MlpNorm => "ln_2.weight",
        Role::MlpNormBias => "ln_2.bias",
        Role::Up => "mlp.c_fc.weight",
        Role::UpBias => "mlp.c_fc.bias",
        Role::Down => "mlp.c_proj.weight",
        Role::DownBias => "mlp.c_proj.bias",
        Role::FinalNorm => "ln_f.weight",
        Role::FinalNormBias => "ln_f.bias",
        other => llama_name(other),
    }
}
