//! The transformer of Dream, LLaDA, Qwen2 and LLaMA. They differ in the attention mask, in biases
//! and in names.
//!
//! Letters in shape comments: b batch, r rows (a multiple of b), t tokens, d d_model, h heads, ff
//! d_ff, v vocabulary.

use harness_kernels::{rms_norm, swiglu};
use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::attention::{attend, by_head};
use crate::config::{Activation, DecoderConfig};
use crate::context::ForwardContext;
use crate::layers::Linear;
use crate::model::{Decoder, Parameters};
use crate::names::{Role, Slot};

/// A decoder-only transformer: RMS norm, rotary positions, grouped-query attention, SwiGLU.
#[derive(Debug)]
pub struct Transformer {
    config: DecoderConfig,
    embed: Tensor, // [v, d]
    blocks: Vec<Block>,
    final_norm: Tensor, // [d]
    head: Linear,       // [v, d]
}

#[derive(Debug)]
struct Block {
    attn_norm: Tensor, // [d]
    q: Linear,         // [h * head_dim, d]
    k: Linear,         // [n_kv_heads * head_dim, d]
    v: Linear,         // [n_kv_heads * head_dim, d]
    o: Linear,         // [d, h * head_dim]
    mlp_norm: Tensor,  // [d]
    gate: Linear,      // [ff, d]
    up: Linear,        // [ff, d]
    down: Linear,      // [d, ff]
}

impl Transformer {
    pub(crate) fn assemble(config: &DecoderConfig, mut parameters: Parameters) -> Result<Self> {
        let blocks = (0..config.n_layers)
            .map(|block| {
                let mut take = |role| parameters.take(Slot::block(block, role));
                let mut linear = |weight, bias: Option<Role>| -> Result<Linear> {
                    Ok(Linear {
                        weight: take(weight)?,
                        bias: bias.map(&mut take).transpose()?,
                    })
                };
                let qkv = |role| config.qkv_bias.then_some(role);
                let mlp = |role| config.mlp_bias.then_some(role);
                Ok(Block {
                    q: linear(Role::Q, qkv(Role::QBias))?,
                    k: linear(Role::K, qkv(Role::KBias))?,
                    v: linear(Role::V, qkv(Role::VBias))?,
                    o: linear(Role::O, config.o_bias.then_some(Role::OBias))?,
                    gate: linear(Role::Gate, mlp(Role::GateBias))?,
                    up: linear(Role::Up, mlp(Role::UpBias))?,
                    down: linear(Role::Down, mlp(Role::DownBias))?,
                    attn_norm: take(Role::AttnNorm)?,
                    mlp_norm: take(Role::MlpNorm)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let embed = parameters.take(Slot::model(Role::Embed))?;
        let head = if config.tie_embeddings {
            embed.shallow_clone()
        } else {
            parameters.take(Slot::model(Role::Head))?
        };
        let final_norm = parameters.take(Slot::model(Role::FinalNorm))?;
        Ok(Self {
            config: config.clone(),
            embed,
            blocks,
            final_norm,
            head: Linear {
                weight: head,
                bias: None,
            },
        })
    }
}

impl Block {
    /// `resid: [r, t, d] -> [r, t, d]`
    fn forward(
        &self,
        layer: i64,
        resid: &Tensor,
        config: &DecoderConfig,
        context: &mut ForwardContext,
    ) -> Result<Tensor> {
        // In place: the sums are the same, and nothing is allocated for them.
        let resid = self.attention(layer, resid, config, context)?.g_add_(resid);
        let normed = rms_norm(&resid, &self.mlp_norm, config.norm_eps)?;
        Ok(self.mlp(&normed, config.activation)?.g_add_(&resid))
    }

    /// `[r, t, d] -> [r, t, d]`
    fn attention(
        &self,
        layer: i64,
        resid: &Tensor,
        config: &DecoderConfig,
        context: &mut ForwardContext,
    ) -> Result<Tensor> {
        let x = rms_norm(resid, &self.attn_norm, config.norm_eps)?;
        let q = by_head(&self.q.apply(&x)?, config.n_heads); // [r, t, h, head_dim]
        let k = by_head(&self.k.apply(&x)?, config.n_kv_heads); // [r, t, n_kv_heads, head_dim]
        let v = by_head(&self.v.apply(&x)?, config.n_kv_heads);
        let (q, k) = match &context.chunk()?.rope {
            Some(rope) => (rope.rotate(q)?, rope.rotate(k)?),
            None => (q, k),
        };
        let (q, k, v) = (q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)); // [r, heads, t, head_dim]
        let (k, v) = context.extend(layer, k, v)?; // [r, n_kv_heads, s, head_dim]
        let mixed = attend(&q, &k, &v, &context.chunk()?.mask, None); // [r, t, h * head_dim]
        self.o.apply(&mixed)
    }

    /// SwiGLU, or the same with another activation: down(silu(gate x) * up x).
    ///
    /// `[r, t, d] -> [r, t, d]`
    fn mlp(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let (gate, up) = (self.gate.apply(x)?, self.up.apply(x)?); // [r, t, ff]
        let gated = match activation {
            Activation::Silu => swiglu(gate, &up)?,
            _ => activation.apply(gate).g_mul_(&up),
        };
        self.down.apply(&gated)
    }
}

impl Decoder for Transformer {
    fn config(&self) -> &DecoderConfig {
        &self.config
    }

    fn kind(&self) -> Kind {
        self.embed.kind()
    }

    fn device(&self) -> Device {
        self.embed.device()
    }

    fn lookup(&self, tokens: &Tensor, _positions: &Tensor) -> Tensor {
        Tensor::embedding(&self.embed, tokens, -1, false, false) // [r, t, d]
    }

    fn block(&self, layer: i64, resid: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.blocks[layer as usize].forward(layer, resid, &self.config, context)
    }

    fn norm(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(rms_norm(rows, &self.final_norm, self.config.norm_eps)?)
    }

    fn project(&self, normed: &Tensor) -> Result<Tensor> {
        self.head.apply(normed) // [.., v]
    }
}
