//! GPT-2: learned positions, layer norm, one fused projection for queries, keys and values.

use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::attention::{attend, by_head};
use crate::config::{DecoderConfig, ScoreScale};
use crate::context::ForwardContext;
use crate::layers::{Conv1d, layer_norm};
use crate::model::{Decoder, Parameters};
use crate::names::{Role, Slot};

#[derive(Debug)]
pub struct Gpt2 {
    config: DecoderConfig,
    embed: Tensor,           // [v, d]
    embed_positions: Tensor, // [max_positions, d]
    blocks: Vec<Block>,
    final_norm: Norm,
    head: Tensor, // [v, d], in most files the embedding
}

#[derive(Debug)]
struct Norm {
    weight: Tensor, // [d]
    bias: Tensor,   // [d]
}

#[derive(Debug)]
struct Block {
    attn_norm: Norm,
    qkv: Conv1d, // [d, 3 d]
    o: Conv1d,   // [d, d]
    mlp_norm: Norm,
    up: Conv1d,   // [d, ff]
    down: Conv1d, // [ff, d]
}

impl Gpt2 {
    pub(crate) fn assemble(config: &DecoderConfig, mut parameters: Parameters) -> Result<Self> {
        let blocks = (0..config.n_layers)
            .map(|block| {
                let mut pair = |weight, bias| -> Result<(Tensor, Tensor)> {
                    Ok((
                        parameters.take(Slot::block(block, weight))?,
                        parameters.take(Slot::block(block, bias))?,
                    ))
                };
                let mut conv =
                    |weight, bias| pair(weight, bias).map(|(weight, bias)| Conv1d { weight, bias });
                let (qkv, o) = (conv(Role::Qkv, Role::QkvBias)?, conv(Role::O, Role::OBias)?);
                let (up, down) = (
                    conv(Role::Up, Role::UpBias)?,
                    conv(Role::Down, Role::DownBias)?,
                );
                let mut norm =
                    |weight, bias| pair(weight, bias).map(|(weight, bias)| Norm { weight, bias });
                let attn_norm = norm(Role::AttnNorm, Role::AttnNormBias)?;
                let mlp_norm = norm(Role::MlpNorm, Role::MlpNormBias)?;
                Ok(Block {
                    attn_norm,
                    qkv,
                    o,
                    mlp_norm,
                    up,
                    down,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut take = |role| parameters.take(Slot::model(role));
        let embed = take(Role::Embed)?;
        Ok(Self {
            config: config.clone(),
            head: match config.tie_embeddings {
                true => embed.shallow_clone(),
                false => take(Role::Head)?,
            },
            embed,
            embed_positions: take(Role::EmbedPositions)?,
            blocks,
            final_norm: Norm {
                weight: take(Role::FinalNorm)?,
                bias: take(Role::FinalNormBias)?,
            },
        })
    }
}

impl Norm {
    fn apply(&self, x: &Tensor, eps: f64) -> Tensor {
        layer_norm(x, &self.weight, &self.bias, eps)
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
        let resid = resid
            + self.attention(
                layer,
                &self.attn_norm.apply(resid, config.norm_eps),
                config,
                context,
            )?;
        let mlp = self.up.apply(&self.mlp_norm.apply(&resid, config.norm_eps)); // [r, t, ff]
        let mlp = config.activation.apply(mlp);
        let mlp = self.down.apply(&mlp);
        Ok(resid + mlp)
    }

    /// `x: [r, t, d] -> [r, t, d]`
    fn attention(
        &self,
        layer: i64,
        x: &Tensor,
        config: &DecoderConfig,
        context: &mut ForwardContext,
    ) -> Result<Tensor> {
        let parts = self.qkv.apply(x).split(config.d_model, -1); // 3 x [r, t, d]
        let heads = |part: &Tensor| by_head(part, config.n_heads).transpose(1, 2); // [r, h, t, head_dim]
        let (k, v) = context.extend(layer, heads(&parts[1]), heads(&parts[2]))?;
        let scale = scale(config, layer);
        let mixed = attend(&heads(&parts[0]), &k, &v, &context.chunk()?.mask, scale); // [r, t, d]
        Ok(self.o.apply(&mixed))
    }
}

/// What the scores of a block are multiplied by; `None` is the usual `head_dim^(-1/2)`.
fn scale(config: &DecoderConfig, layer: i64) -> Option<f64> {
    let ScoreScale {
        by_head_dim,
        by_layer,
    } = config.scores;
    if by_head_dim && !by_layer {
        return None;
    }
    let of_head = match by_head_dim {
        true => (config.head_dim as f64).powf(-0.5),
        false => 1.0,
    };
    let of_layer = if by_layer { (layer + 1) as f64 } else { 1.0 };
    Some(of_head / of_layer)
}

impl Decoder for Gpt2 {
    fn config(&self) -> &DecoderConfig {
        &self.config
    }

    fn kind(&self) -> Kind {
        self.embed.kind()
    }

    fn device(&self) -> Device {
        self.embed.device()
    }

    fn lookup(&self, tokens: &Tensor, positions: &Tensor) -> Tensor {
        let rows = |table: &Tensor, ids: &Tensor| Tensor::embedding(table, ids, -1, false, false);
        rows(&self.embed, tokens) + rows(&self.embed_positions, positions) // [r, t, d]
    }

    fn block(&self, layer: i64, resid: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.blocks[layer as usize].forward(layer, resid, &self.config, context)
    }

    fn norm(&self, rows: &Tensor) -> Result<Tensor> {
        Ok(self.final_norm.apply(rows, self.config.norm_eps))
    }

    fn project(&self, normed: &Tensor) -> Result<Tensor> {
        let none: Option<&Tensor> = None;
        Ok(normed.f_linear(&self.head, none)?) // [.., v]
    }
}
